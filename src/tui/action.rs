//! What a key, a mouse event or a command means.

/// The views, in the order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum ViewId {
    Overview,
    Control,
    Timelines,
    Blocks,
    Records,
    Lost,
    Plan,
}

impl ViewId {
    /// All of them, in order.
    pub const ALL: [Self; 7] =
        [Self::Overview, Self::Control, Self::Timelines, Self::Blocks, Self::Records, Self::Lost, Self::Plan];

    /// What its tab says.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Control => "Control",
            Self::Timelines => "Timelines",
            Self::Blocks => "Blocks",
            Self::Records => "Records",
            Self::Lost => "Lost",
            Self::Plan => "Plan",
        }
    }

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Something that the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Action {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Left,
    Right,
    Enter,
    Back,
    NextPane,
    PreviousPane,
    View(ViewId),
    NextView,
    PreviousView,
    Search,
    NextMatch,
    PreviousMatch,
    Filter,
    Command,
    Help,
    Copy,
    Mark,
    NextMark,
    Sort,
    Enlarge,
    Redraw,
    Mouse,
    Cancel,
    Suspend,
    Quit,
    OtherSide,
    FollowBlock,
    FollowTransaction,
    PreviousRecord,
    ShowRecords,
    Export,
    Keep,
    Compare,
    CarryOut,
    Resume,
    Undo,
}

impl Action {
    /// It asks for a text: who wants it goes on typing, also where it is refused.
    pub const fn asks(self) -> bool {
        matches!(
            self,
            Self::Search
                | Self::Filter
                | Self::Command
                | Self::Export
                | Self::CarryOut
                | Self::Resume
                | Self::Undo
        )
    }
}
