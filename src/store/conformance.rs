//! What every database must do for us: one function per promise, written against [`Store`] alone.

#![allow(clippy::cognitive_complexity)] // every assertion counts as a branch

mod accounts;
mod activity;
mod api_keys;
mod audit_bundles;
mod audit_chain;
mod audit_reading;
mod authorization;
mod certificates;
mod clients;
mod connections;
mod devices;
mod factors;
mod fixtures;
mod grants;
mod groups;
mod groups_of_commits;
mod housekeeping;
mod identities;
mod mcp_sessions;
mod nodes;
mod personal;
mod postgres;
mod service_links;
mod services;
mod sqlite;
mod transfer;
mod upstreams;

use super::*;
use crate::clock::Timestamp;
use fixtures::*;
use std::future::Future;
use std::time::Duration;

/// Runs every promise on databases that `open` makes, a new one for each. In parts, because a future that is polled without
/// optimisation needs stack for everything that it awaits.
async fn run<F: Future<Output = Store>>(open: impl Fn() -> F) {
    of_people(&open).await;
    of_programs(&open).await;
    of_connections(&open).await;
    of_observations(&open).await;
    of_upkeep(&open).await;
}

/// People, and how they sign in.
async fn of_people<F: Future<Output = Store>>(open: &impl Fn() -> F) {
    accounts::names_are_unique_without_case(&open().await).await;
    accounts::an_administrator_counts_while_enabled(&open().await).await;
    accounts::the_last_administrator_stays(&open().await).await;
    accounts::disabling_ends_what_a_person_has_open_and_keeps_connections(&open().await).await;
    accounts::sessions_end(&open().await).await;
    accounts::sessions_have_names_and_belong_to_people(&open().await).await;
    accounts::a_person_goes_with_everything(&open().await).await;
    api_keys::an_api_key_is_kept_touched_and_deleted(&open().await).await;
    groups::a_source_replaces_only_its_own(&open().await).await;
    groups::members_are_found_by_group_and_go_with_the_person(&open().await).await;
    groups::permissions_are_replaced_and_taken_away(&open().await).await;
    factors::an_authenticator_counts_when_it_is_confirmed(&open().await).await;
    factors::a_step_and_a_code_are_used_once(&open().await).await;
    factors::passkeys_count_upwards(&open().await).await;
    factors::a_reset_takes_everything_of_one_person(&open().await).await;
    identities::an_identity_is_one_person_s(&open().await).await;
    identities::a_person_comes_with_an_identity_or_not_at_all(&open().await).await;
    identities::an_email_address_follows_its_identity(&open().await).await;
    identities::the_last_way_in_stays(&open().await).await;
}

/// Clients and what they were granted.
async fn of_programs<F: Future<Output = Store>>(open: &impl Fn() -> F) {
    authorization::clients_belong_to_a_realm(&open().await).await;
    clients::unused_clients_give_way_to_new_ones(&open().await).await;
    clients::a_flood_of_registrations_stays_within_its_room(&open().await).await;
    clients::a_client_is_replaced_and_expires(&open().await).await;
    clients::who_asks_again_stands_under_the_same_grant(&open().await).await;
    authorization::documents_are_replaced(&open().await).await;
    authorization::a_flow_is_taken_once(&open().await).await;
    authorization::signing_keys_stand_in_line(&open().await).await;
    grants::a_grant_comes_with_its_code_or_not_at_all(&open().await).await;
    grants::a_code_is_consumed_once(&open().await).await;
    grants::a_refresh_token_rotates_once(&open().await).await;
    grants::revocation_ends_tokens_and_is_told(&open().await).await;
    grants::revocation_reaches_clients_and_people(&open().await).await;
    grants::a_derived_grant_ends_with_its_parent(&open().await).await;
    devices::a_device_is_one_persons_from_the_first_claim(&open().await).await;
    devices::a_device_gets_its_tokens_once(&open().await).await;
    devices::b45_a_hasty_device_has_to_wait_longer_each_time(&open().await).await;
    devices::wrong_user_codes_are_counted_in_a_window(&open().await).await;
    devices::a_remembered_consent_ends_with_any_grant_of_its_client(&open().await).await;
    mcp_sessions::an_mcp_session_is_kept_used_and_ended(&open().await).await;
    mcp_sessions::mcp_sessions_have_a_room_for_each_person_and_for_all(&open().await).await;
}

/// Upstreams, services, and what leads to them.
async fn of_connections<F: Future<Output = Store>>(open: &impl Fn() -> F) {
    upstreams::rules_about_tools_are_replaced_and_taken_away(&open().await).await;
    upstreams::a_decision_answers_those_who_asked(&open().await).await;
    upstreams::a_membership_says_who_said_so(&open().await).await;
    connections::renewed_consent_keeps_the_id(&open().await).await;
    connections::a_title_stays_with_its_person_and_account(&open().await).await;
    connections::a_refresh_is_begun_once(&open().await).await;
    connections::the_next_holder_knows_of_the_last(&open().await).await;
    connections::a_refresh_loses_to_a_newer_version(&open().await).await;
    connections::an_answer_that_comes_late_waits_for_the_later_holder(&open().await).await;
    connections::urgent_connections_come_first(&open().await).await;
    connections::step_ups_go_with_their_connection(&open().await).await;
    connections::upstreams_have_an_alias_each(&open().await).await;
    connections::what_is_known_of_upstreams_is_replaced(&open().await).await;
    personal::what_people_give_replaces_the_connection(&open().await).await;
    personal::what_people_gave_is_parted_from_by_nobody(&open().await).await;
    personal::what_is_hidden_is_told_and_goes_with_the_person(&open().await).await;
    services::personal_access_tokens_are_replaced_and_go_with_their_person(&open().await).await;
    services::what_is_deleted_is_parted_from_once_at_a_time(&open().await).await;
    services::a_removed_person_s_connections_are_parted_from(&open().await).await;
    service_links::a_link_is_used_once_by_whom_it_is_for(&open().await).await;
    service_links::a_link_goes_with_its_key_its_person_and_its_time(&open().await).await;
    service_links::an_address_is_of_whoever_has_it_anywhere(&open().await).await;
}

/// What happened, and what serves.
async fn of_observations<F: Future<Output = Store>>(open: &impl Fn() -> F) {
    activity::activity_adds_up(&open().await).await;
    activity::many_writers_add_to_the_same_rows(&open().await).await;
    activity::the_busiest_come_first(&open().await).await;
    activity::streams_are_those_of_nodes_that_are_there(&open().await).await;
    activity::a_connection_remembers_its_last_use(&open().await).await;
    nodes::a_node_is_listed_until_it_leaves_or_falls_silent(&open().await).await;
    nodes::a_node_that_ended_without_a_word_is_forgotten(&open().await).await;
    certificates::a_certificate_is_ordered_by_one_at_a_time(&open().await).await;
    certificates::a_failed_order_is_counted_and_what_there_was_stays(&open().await).await;
    certificates::an_account_is_made_once_and_replaced_when_it_is_gone(&open().await).await;
    certificates::answers_are_found_and_go_with_their_order(&open().await).await;
    audit_chain::a_chain_holds_and_retention_shortens_it(&open().await).await;
    audit_chain::every_change_of_a_line_is_found(&open().await).await;
    audit_chain::what_is_missing_is_found_as_far_as_it_can_be(&open().await).await;
    audit_chain::lines_of_an_earlier_version_are_taken_in(&open().await).await;
    audit_chain::many_writers_make_one_chain(&open().await).await;
    audit_reading::lines_are_found_by_all_that_is_known_of_them(&open().await).await;
    audit_reading::stretches_are_bounded_whatever_fits(&open().await).await;
    audit_bundles::bundled_lines_are_found_like_rows(&open().await).await;
    audit_bundles::stretches_count_bundled_lines(&open().await).await;
    audit_bundles::a_chain_of_bundles_holds_and_retention_shortens_it(&open().await).await;
    audit_bundles::every_change_of_a_bundle_is_found(&open().await).await;
    audit_bundles::many_writers_of_bundles_make_one_chain(&open().await).await;
    audit_bundles::rows_of_an_earlier_version_stand_behind_bundles(&open().await).await;
}

/// The database itself.
async fn of_upkeep<F: Future<Output = Store>>(open: &impl Fn() -> F) {
    transfer::everything_travels(&open().await, &open().await).await;
    housekeeping::settings_are_compared_and_deleted(&open().await).await;
    housekeeping::audit_is_newest_first(&open().await).await;
    housekeeping::what_works_once_works_once(&open().await).await;
    housekeeping::sweeping_takes_what_is_dead(&open().await).await;
}

/// How many of many simultaneous callers win.
async fn winners<F>(attempt: impl Fn(usize) -> F) -> usize
where
    F: Future<Output = bool> + Send + 'static,
{
    let attempts: Vec<_> = (0..100).map(|number| tokio::spawn(attempt(number))).collect();
    let mut winners = 0;
    for attempt in attempts {
        winners += usize::from(attempt.await.unwrap());
    }
    winners
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    run(async || Store::open("sqlite::memory:").await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    run(async || Store::open(&testing::postgres_url().await).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    run(async || {
        number.set(number.get() + 1);
        Store::open(&format!("sqlite://{}/{}.db", directory.path().display(), number.get())).await.unwrap()
    })
    .await;
}
