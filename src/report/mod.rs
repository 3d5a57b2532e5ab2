//! What was found out, as text, as Markdown and as JSON.

pub mod blocks;
pub mod content;
pub mod controldata;
pub mod doc;
pub mod drawing;
pub mod dto;
pub mod json;
pub mod lost;
pub mod markdown;
pub mod plan;
pub mod question;
pub mod rewind;
pub mod snapshots;
pub mod text;
pub mod timelines;
pub mod timezone;
pub mod words;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
