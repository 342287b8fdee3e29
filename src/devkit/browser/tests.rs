use super::cookies::Jar;
use super::forms::{Field, scan, text, title};
use super::*;

#[test]
fn forms_are_found_in_ordinary_and_in_sloppy_html() {
    let forms = scan(
        "<!-- <form action=/no> --><FORM method=\"post\" action='/a?x=1&amp;y=2'>\
         <input type=hidden name=csrf_token value=\"a&quot;b&#x3c;\"><input name=user value=demo />\
         <input type=checkbox name=off><input type=checkbox name=on checked><p a=<b>\
         <button name=decision value=approve>Yes</button><button type='submit' name=decision value=deny>No</button>\
         </form><input name=outside><form><input name=q",
    );
    assert_eq!(forms.len(), 2);
    assert_eq!((forms[0].action.as_str(), forms[0].post), ("/a?x=1&y=2", true));
    let field = |name: &str, value: &str| Field { name: name.to_owned(), value: value.to_owned() };
    assert_eq!(forms[0].fields, [field("csrf_token", "a\"b<"), field("user", "demo"), field("on", "on")]);
    assert_eq!(forms[0].buttons, [field("decision", "approve"), field("decision", "deny")]);
    assert_eq!((forms[1].post, forms[1].fields.len()), (false, 1));
    let sent = forms[0].filled(&[("user", "me"), ("decision", "deny")]);
    assert_eq!(sent.iter().filter(|(name, _)| name == "user").count(), 1);
    assert!(sent.contains(&("decision".to_owned(), "deny".to_owned())));
}

#[test]
fn titles_and_texts_are_what_a_person_reads() {
    let html = "<title> A &amp; B </title><style>p { color: red }</style><p>One\n two</p><script>x < 1</script>three";
    assert_eq!(title(html), "A & B");
    assert_eq!(text(html), "One two three");
    for torn in ["<", "<title", "a<b", "&#xffffffff;&", "<form", "<input name='", "<form ä=ö"] {
        let _ = (title(torn), text(torn), scan(torn));
    }
}

#[test]
fn cookies_stay_where_they_belong() {
    let url = |text: &str| Url::parse(text).unwrap();
    let mut jar = Jar::default();
    jar.set(&url("https://gw.example/login"), "__Host-session=1; Path=/; Secure; HttpOnly; SameSite=Lax");
    jar.set(&url("https://gw.example/login"), "__Host-bad=1; Path=/x; Secure");
    jar.set(&url("https://gw.example/a/b"), "narrow=1");
    jar.set(&url("https://gw.example/"), "wide=1; Domain=gw.example");
    jar.set(&url("https://evil.example/"), "stolen=1; Domain=gw.example");
    assert_eq!(jar.header(&url("https://gw.example/")).as_deref(), Some("__Host-session=1; wide=1"));
    assert_eq!(jar.header(&url("https://gw.example/a/c")).as_deref(), Some("__Host-session=1; narrow=1; wide=1"));
    assert_eq!(jar.header(&url("http://gw.example/")), Some("wide=1".to_owned()));
    assert_eq!(jar.header(&url("https://x.gw.example/")).as_deref(), Some("wide=1"));
    assert_eq!(jar.header(&url("https://notgw.example/")), None);
    jar.set(&url("https://gw.example/logout"), "__Host-session=; Path=/; Secure; Max-Age=0");
    assert_eq!(jar.get(&url("https://gw.example/"), "__Host-session"), None);
}
