//! The doctor against set-ups that are broken on purpose: the right step for every client.

mod by_hand;
mod front;
mod setups;
mod stage;
