//! `[[provider]]` and the table below it.

use super::*;
use crate::config::provider::{Challenges, Redirects, Registration, Resource, Rotation, built_in};
use crate::oauth::scope::Scopes;

#[test]
fn what_is_written_goes_over_the_table_key_by_key() {
    let config = Trial::new(
        "[[provider]]\nid = \"slack\"\nregistration = \"dynamic\"\nscopes = [\"search:read\"]\n\
         [[provider]]\nid = \"our-gitlab\"\nname = \"Our GitLab\"\nhosts = [\"git.example.com\", \".pages.example.com\"]\n\
         path = \"/api/v4/mcp\"\nregistration = \"preregistered\"\nredirects = \"fixed\"\nresource = \"never\"\n\
         register_at = \"https://git.example.com/admin/applications\"\nauth_method = \"client_secret_post\"\n\
         challenges = \"on-calls\"\nrotation = \"rotates\"\nrotation_grace = \"5m\"\ntoken_life = \"2h\"\n\
         advice = \"Ask {domain} for {redirect_uri}.\"\noffline_access = true\nneeds_scopes = true\n\
         [[provider.note]]\ntext = \"Version 18.\"\nsource = \"https://git.example.com/help\"\n",
    )
    .load();
    let [slack, gitlab] = &config.provider[..] else { panic!("two providers") };
    let known = built_in().iter().find(|one| one.id == "slack").unwrap();
    assert_eq!(slack.registration, Registration::Dynamic);
    assert_eq!(slack.scopes, Scopes::parse("search:read").unwrap());
    assert_eq!((&slack.name, &slack.hosts, &slack.quirks), (&known.name, &known.hosts, &known.quirks));
    assert_eq!(
        gitlab.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["git.example.com", ".pages.example.com"]
    );
    assert_eq!(
        (gitlab.registration, gitlab.redirects, &gitlab.resource, gitlab.challenges, gitlab.rotation),
        (
            Registration::Preregistered,
            Redirects::Fixed,
            &Resource::Never,
            Challenges::OnCalls,
            Rotation::Rotates { grace: Some(Duration::from_secs(300)) }
        )
    );
    assert!(gitlab.offline_access && gitlab.needs_scopes && !gitlab.quirks.takes_resource);
    assert_eq!(gitlab.quirks.token_life, Some(Duration::from_secs(7200)));
    let advice = gitlab.advice_for("https://gw.example/oauth/callback").unwrap();
    assert_eq!(advice, "Ask gw.example for https://gw.example/oauth/callback.");
    assert_eq!(gitlab.notes[0].source.as_deref(), Some("https://git.example.com/help"));
}

#[test]
fn errors_name_the_line_and_the_fix() {
    let errors = Trial::new(
        "[[provider]]\nname = \"A\"\n\
         [[provider]]\nid = \"Slack\"\n\
         [[provider]]\nid = \"new\"\n\
         [[provider]]\nid = \"b\"\nname = \"B\"\nhosts = [\"https://b.example\"]\nregistration = \"dcr\"\nscope = \"x\"\n\
         [[provider]]\nid = \"c\"\nname = \"C\"\nhosts = [\"mcp.linear.app\", \".linear.app\"]\n\
         [[provider]]\nid = \"github\"\n\
         [[provider]]\nid = \"github\"\n\
         [[provider]]\nid = \"d\"\nname = \"D\"\nhosts = [\"d.example\"]\nadvice = \"Go to {url}\"\nrotation_grace = \"1m\"\nresource = \"mcp\"\n\
         [[provider.note]]\nsource = \"x\"\n",
    )
    .errors();
    assert_errors(
        &errors,
        &[
            "portcullis.toml:1: provider[0].id: is missing",
            "portcullis.toml:4: provider[1].id: \"Slack\" is not an id",
            "portcullis.toml:5: provider[2].hosts: is missing",
            "portcullis.toml:5: provider[2].name: is missing",
            "portcullis.toml:10: provider[3].hosts: \"https://b.example\" is not a host",
            "portcullis.toml:11: provider[3].registration: \"dcr\" is not a choice: write one of \"dynamic\"",
            "portcullis.toml:12: provider[3].scope: unknown key; did you mean \"provider[3].scopes\"?",
            "portcullis.toml:13: provider.hosts: .linear.app: is a host of the provider \"linear\"",
            "portcullis.toml:19: provider[6].id: \"github\" is described at line 17 already",
            "portcullis.toml:25: provider[7].advice: {url} means nothing here",
            "portcullis.toml:26: provider[7].rotation_grace: is used only with rotation = \"rotates\"",
            "portcullis.toml:27: provider[7].resource: \"mcp\" is not known",
            "portcullis.toml:28: provider[7].note[0].text: is missing",
        ],
    );
}
