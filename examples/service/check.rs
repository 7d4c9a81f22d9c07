//! `--check`: asks the service as a client would, and looks at every answer.

use std::{error::Error, time::Duration};

use awc::Client;
use image::ImageFormat::{Jpeg, Png};

use crate::{
    sample,
    server::MAX_BODY,
    thumbnail::{EDGE, MAX_PIXELS},
};

type Done = Result<(), Box<dyn Error>>;

/// # Errors
/// Says how many answers were wrong; each was named on stderr.
pub(crate) async fn run(base: &str) -> Done {
    let small = EDGE * 3 / 4;
    let truncated = |image: Vec<u8>| image[..image.len() / 2].to_vec();
    let thumbnail = |width, height| Expected::Thumbnail(width, height);
    let cases = [
        (
            "a wide PNG",
            sample::halves(400, 300, Png)?,
            thumbnail(EDGE, small),
        ),
        (
            "a tall JPEG",
            sample::halves(900, 1200, Jpeg)?,
            thumbnail(small, EDGE),
        ),
        (
            "a small image",
            sample::halves(20, 10, Png)?,
            thumbnail(20, 10),
        ),
        ("a text", b"no image".to_vec(), Expected::Status(422)),
        ("nothing", Vec::new(), Expected::Status(422)),
        (
            "half a PNG",
            truncated(sample::halves(400, 300, Png)?),
            Expected::Status(422),
        ),
        (
            "half a JPEG",
            truncated(sample::halves(400, 300, Jpeg)?),
            Expected::Status(422),
        ),
        (
            "too large a file",
            vec![0; MAX_BODY + 1],
            Expected::Status(413),
        ),
        ("too many pixels", sample::bomb()?, Expected::Status(413)),
    ];
    let mut wrong = 0;
    let count = cases.len();
    for (what, image, expected) in cases {
        match ask(base, image, expected).await {
            Ok(()) => println!("{what}: ok"),
            Err(error) => {
                wrong += 1;
                eprintln!("{what}: {error}");
            }
        }
    }
    if wrong > 0 {
        return Err(format!("{wrong} of {count} answers were wrong").into());
    }
    println!("{count} answers are right, with at most {MAX_PIXELS} pixels and {MAX_BODY} bytes");
    Ok(())
}

enum Expected {
    Thumbnail(u32, u32),
    Status(u16),
}

async fn ask(base: &str, image: Vec<u8>, expected: Expected) -> Done {
    let client = Client::builder().timeout(Duration::from_secs(60)).finish();
    let request = client.post(format!("{base}/thumbnail"));
    let mut response = request
        .send_body(image)
        .await
        .map_err(|error| error.to_string())?;
    let body = response.body().await?;
    let status = response.status().as_u16();
    match expected {
        Expected::Status(should) if status == should => Ok(()),
        Expected::Thumbnail(width, height) if status == 200 => sample::look(&body, width, height),
        Expected::Status(_) | Expected::Thumbnail(..) => {
            Err(format!("status {status}: {}", String::from_utf8_lossy(&body)).into())
        }
    }
}
