//! A QR code as the path of an SVG image.

use qrcode::{Color, EcLevel, QrCode};

/// What a page draws.
#[derive(Clone, Debug)]
pub struct QrImage {
    /// Width and height of the image, in modules, the quiet zone included.
    pub size: usize,
    /// `d` of the path that has all dark modules.
    pub path: String,
}

/// Light modules around the code (ISO/IEC 18004 §6.3.8).
const QUIET: usize = 4;

impl QrImage {
    /// Of a text; `None` when it is too long for a QR code.
    pub fn of(text: &str) -> Option<Self> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
        let width = code.width();
        let mut path = String::new();
        for (index, color) in code.to_colors().into_iter().enumerate() {
            if color == Color::Dark {
                let (x, y) = (index % width + QUIET, index / width + QUIET);
                path.push_str(&format!("M{x} {y}h1v1h-1z"));
            }
        }
        Some(Self { size: width + 2 * QUIET, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finder_patterns_are_where_they_belong() {
        let image = QrImage::of("otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ").unwrap();
        for corner in [(4, 4), (4, image.size - 5), (image.size - 5, 4)] {
            assert!(image.path.contains(&format!("M{} {}h1", corner.0, corner.1)), "{corner:?}");
        }
        assert!(QrImage::of(&"x".repeat(10_000)).is_none());
    }
}
