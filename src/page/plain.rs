//! Names that strangers chose. Templates escape them; this takes away what would still deceive a reader: characters that
//! are invisible or turn the direction of writing, and sheer length.

/// Longer names are cut; nothing worth reading is.
const MAX_NAME: usize = 120;

/// A name as it may be shown to a person who decides something by it.
pub(super) fn name(text: &str) -> String {
    let mut shown: String =
        text.chars().map(|c| if deceives(c) { char::REPLACEMENT_CHARACTER } else { c }).take(MAX_NAME).collect();
    if text.chars().nth(MAX_NAME).is_some() {
        shown.push('…');
    }
    shown
}

/// Control characters, and the format characters of Unicode that hide, join or reorder what stands around them.
fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
        || matches!(c, '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{e0000}'..='\u{e0fff}')
}
