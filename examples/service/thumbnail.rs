//! The task: from an image as it was uploaded to a small one. All that reads the client's bytes is in here.

use std::{
    fmt,
    io::{Cursor, Error},
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use actix_multiprocess::{Blob, Task, TaskContext};
use actix_web::{ResponseError, http::StatusCode};
use image::{ImageError, ImageFormat, ImageReader, Limits};
use serde::{Deserialize, Serialize};

/// No side of a thumbnail is longer.
pub(crate) const EDGE: u32 = 128;

/// The most that an image may have. A few kilobytes can unpack to gigabytes.
pub(crate) const MAX_PIXELS: u64 = 24_000_000;

/// An image, PNG or JPEG.
///
/// It could run twice (`Task::IDEMPOTENT`), but an image that kills its worker would then kill three of them, and a
/// handful of those would open the circuit for everybody.
#[derive(Serialize, Deserialize)]
pub(crate) struct Thumbnail {
    pub(crate) image: Blob,
}

/// What a worker is told when it starts; see `USAGE`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) hold: Option<PathBuf>,
    pub(crate) wrong: bool,
}

/// Why there is no thumbnail, in words that the client may read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum NoThumbnail {
    Broken(String),
    TooLarge,
    /// Nobody waits for it any more, so nobody reads this.
    Unwanted,
}

impl fmt::Display for NoThumbnail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(why) => write!(f, "this is no PNG or JPEG image: {why}"),
            Self::TooLarge => write!(f, "the image has more than {MAX_PIXELS} pixels"),
            Self::Unwanted => f.write_str("nobody wants it"),
        }
    }
}

/// With this a handler can use `?`: the answer for `TaskError::Failed` is that of the error in it.
impl ResponseError for NoThumbnail {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Broken(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unwanted => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<ImageError> for NoThumbnail {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Limits(_) => Self::TooLarge,
            error => Self::Broken(error.to_string()),
        }
    }
}

impl From<Error> for NoThumbnail {
    fn from(error: Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Task for Thumbnail {
    const NAME: &'static str = "thumbnail";
    type Output = Blob;
    type Error = NoThumbnail;
    type State = Rc<Settings>;

    async fn run(self, cx: TaskContext<Rc<Settings>>) -> Result<Blob, NoThumbnail> {
        let settings = Settings::clone(cx.state());
        let wanted = Wanted::default();
        let _until_dropped = Until(wanted.clone());
        // On a thread of its own, so that the event loop of the worker hears at once when the client has gone.
        cx.block(move || make(&self.image, &settings, &wanted))
            .await
    }
}

/// Whether somebody waits for the result. A thread that computes cannot be stopped; it has to look.
#[derive(Clone)]
struct Wanted(Arc<AtomicBool>);

impl Default for Wanted {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Wanted {
    fn check(&self) -> Result<(), NoThumbnail> {
        if self.0.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(NoThumbnail::Unwanted)
        }
    }
}

struct Until(Wanted);

impl Drop for Until {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

fn make(bytes: &[u8], settings: &Settings, wanted: &Wanted) -> Result<Blob, NoThumbnail> {
    let reader = || ImageReader::new(Cursor::new(bytes)).with_guessed_format();

    if reader()?.format() == Some(ImageFormat::Jpeg) && is_cut_short(bytes).unwrap_or(true) {
        return Err(NoThumbnail::Broken("it is cut short".to_owned()));
    }
    // What the header says, before any memory is taken for it.
    let (width, height) = reader()?.into_dimensions()?;
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(NoThumbnail::TooLarge);
    }
    while settings.hold.as_ref().is_some_and(|file| !file.exists()) {
        wanted.check()?;
        thread::sleep(Duration::from_millis(1));
    }

    // The pixel limit bounds how long each of these steps goes on unwanted.
    wanted.check()?;
    let mut reader = reader()?;
    let mut limits = Limits::default();
    // 8 bytes for a pixel are the most that these formats have.
    limits.max_alloc = Some(2 * 8 * MAX_PIXELS);
    reader.limits(limits);
    let image = reader.decode()?;

    wanted.check()?;
    let edge = if settings.wrong { EDGE - 1 } else { EDGE };
    let small = if width.max(height) > edge {
        image.thumbnail(edge, edge)
    } else {
        image
    };
    let mut png = Cursor::new(Vec::new());
    small.write_to(&mut png, ImageFormat::Png)?;
    Ok(Blob::from(png.into_inner()))
}

/// Whether a JPEG lacks its end. The decoder would make of it what it can, and leave the rest grey. `None` when it ends
/// within its headers.
fn is_cut_short(jpeg: &[u8]) -> Option<bool> {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    // Headers are passed over by their length, because the small image that cameras put in one has an end of its own.
    let mut rest = jpeg.get(2..)?;
    while rest.get(1)? != &START_OF_SCAN {
        rest = match rest {
            // A marker may begin with any number of these.
            [0xff, 0xff, ..] => &rest[1..],
            [_, _, high, low, ..] => {
                rest.get(2 + usize::from(u16::from_be_bytes([*high, *low]))..)?
            }
            _ => return None,
        };
    }
    // What is behind the end, such as the film of a moving photo, is nobody's business.
    Some(!rest.windows(2).any(|pair| pair == END_OF_IMAGE))
}
