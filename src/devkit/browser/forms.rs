//! A small tolerant scanner for forms: enough of HTML to press a button, no tree.

/// A form as a person sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Where it is sent, as written; empty for the page itself.
    pub action: String,
    /// Whether by POST.
    pub post: bool,
    /// Its fields that are sent without anybody pressing them.
    pub fields: Vec<Field>,
    /// Its buttons that have a name.
    pub buttons: Vec<Field>,
}

/// A field or button of a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value on the page.
    pub value: String,
}

impl Form {
    /// Whether there is a field or button of that name.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().chain(&self.buttons).any(|field| field.name == name)
    }

    /// What is sent when the fields are changed like that.
    pub(super) fn filled(&self, changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let kept = self.fields.iter().filter(|field| changes.iter().all(|(name, _)| *name != field.name));
        let kept = kept.map(|field| (field.name.clone(), field.value.clone()));
        kept.chain(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
    }
}

/// All forms of a page.
pub(super) fn scan(html: &str) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    let mut open = false;
    for tag in Tags(html) {
        let field = || Field { name: tag.attribute("name"), value: tag.attribute("value") };
        match tag.name.as_str() {
            "form" => {
                open = true;
                let post = tag.attribute("method").eq_ignore_ascii_case("post");
                forms.push(Form { action: tag.attribute("action"), post, ..Form::default() });
            }
            "/form" => open = false,
            "input" | "button" | "textarea" if open && !tag.attribute("name").is_empty() => {
                let Some(form) = forms.last_mut() else { continue };
                let kind = tag.attribute("type").to_ascii_lowercase();
                let pressed =
                    matches!(kind.as_str(), "submit" | "button" | "image") || (tag.name == "button" && kind != "reset");
                if pressed {
                    form.buttons.push(field());
                } else if !matches!(kind.as_str(), "checkbox" | "radio") || tag.has("checked") {
                    let mut field = field();
                    if field.value.is_empty() && kind == "checkbox" {
                        field.value = "on".to_owned();
                    }
                    form.fields.push(field);
                }
            }
            _ => {}
        }
    }
    forms
}

/// The text of `<title>`.
pub(super) fn title(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|start| {
        let from = start + lower[start..].find('>')? + 1;
        Some(&html[from..from + lower[from..].find("</title")?])
    });
    unescape(title.unwrap_or_default().trim())
}

/// The visible text, white space folded, at most 600 characters.
pub(super) fn text(html: &str) -> String {
    let mut visible = String::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        visible.push_str(&rest[..start]);
        visible.push(' ');
        let tag = rest[start..].to_ascii_lowercase();
        let hidden = ["style", "script", "title"].iter().find(|name| tag[1..].starts_with(*name));
        let end = match hidden {
            Some(name) => tag.find(&format!("</{name}")).unwrap_or(0),
            None => 0,
        };
        let Some(close) = rest[start + end..].find('>') else { return fold(&visible) };
        rest = &rest[start + end + close + 1..];
    }
    visible.push_str(rest);
    fold(&visible)
}

fn fold(text: &str) -> String {
    unescape(&text.split_whitespace().collect::<Vec<_>>().join(" ")).chars().take(600).collect()
}

struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn attribute(&self, name: &str) -> String {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(key, _)| key == name)
    }
}

/// The tags of a text, comments skipped.
struct Tags<'a>(&'a str);

impl Iterator for Tags<'_> {
    type Item = Tag;

    fn next(&mut self) -> Option<Tag> {
        loop {
            let start = self.0.find('<')?;
            self.0 = &self.0[start + 1..];
            if let Some(comment) = self.0.strip_prefix("!--") {
                self.0 = comment.split_once("-->").map_or("", |(_, rest)| rest);
                continue;
            }
            let length = self.0.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(self.0.len());
            let (name, rest) = self.0.split_at(length);
            let (attributes, rest) = attributes(rest);
            self.0 = rest;
            return Some(Tag { name: name.trim_end_matches('/').to_ascii_lowercase(), attributes });
        }
    }
}

/// Reads `name="value"` pairs up to the tag's end.
fn attributes(mut text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if text.is_empty() {
            return (found, text);
        }
        if let Some(rest) = text.strip_prefix('>') {
            return (found, rest);
        }
        let length =
            text.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/')).unwrap_or(text.len()).max(1);
        let cut = text.char_indices().map(|(at, _)| at).find(|at| *at >= length).unwrap_or(text.len());
        let name = text[..cut].to_ascii_lowercase();
        text = text[cut..].trim_start();
        let mut value = "";
        if let Some(rest) = text.strip_prefix('=') {
            (value, text) = attribute_value(rest.trim_start());
        }
        found.push((name, unescape(value)));
    }
}

fn attribute_value(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            return inner.split_once(quote).unwrap_or((inner, ""));
        }
    }
    text.split_at(text.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(text.len()))
}

/// Replaces the character references that template engines write.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let reference = after.split_once(';').filter(|(name, _)| name.len() <= 8);
        match reference.and_then(|(name, behind)| Some((character(name)?, behind))) {
            Some((character, behind)) => {
                plain.push(character);
                rest = behind;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn character(reference: &str) -> Option<char> {
    match reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => {
            let number = reference.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}
