//! Images to ask with, and what their thumbnails have to look like. `tests/service.rs` uses them, too.

use std::{error::Error, io::Cursor};

use image::{DynamicImage, GrayImage, ImageFormat, Rgb, RgbImage, load_from_memory_with_format};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const RED: [u8; 3] = [200, 30, 30];
const BLUE: [u8; 3] = [30, 30, 200];

/// An image whose left half is red and whose right half is blue.
///
/// # Errors
/// Says what the encoder says.
pub(crate) fn halves(width: u32, height: u32, format: ImageFormat) -> Result<Vec<u8>> {
    let image = RgbImage::from_fn(width, height, |x, _| {
        Rgb(if x < width / 2 { RED } else { BLUE })
    });
    encode(image.into(), format)
}

/// A small file that unpacks to one pixel row more than 24 million pixels.
///
/// # Errors
/// Says what the encoder says.
pub(crate) fn bomb() -> Result<Vec<u8>> {
    encode(GrayImage::new(6_000, 4_001).into(), ImageFormat::Png)
}

fn encode(image: DynamicImage, format: ImageFormat) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

/// # Errors
/// Says what is wrong with the thumbnail, if it is not of this size, or not red at its left and blue at its right end.
pub(crate) fn look(png: &[u8], width: u32, height: u32) -> Result<()> {
    let image = load_from_memory_with_format(png, ImageFormat::Png)?.into_rgb8();
    if image.dimensions() != (width, height) {
        let (is_width, is_height) = image.dimensions();
        return Err(format!("{is_width}x{is_height} instead of {width}x{height} pixels").into());
    }
    for (x, colour) in [
        (0, RED),
        (width / 4, RED),
        (width * 3 / 4, BLUE),
        (width - 1, BLUE),
    ] {
        let Rgb(pixel) = *image.get_pixel(x, height / 2);
        // JPEG is not exact.
        if pixel
            .iter()
            .zip(colour)
            .any(|(is, should)| is.abs_diff(should) > 16)
        {
            return Err(format!("{pixel:?} instead of {colour:?} at {x}").into());
        }
    }
    Ok(())
}
