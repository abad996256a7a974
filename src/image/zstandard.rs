//! Zstandard, RFC 8878: any number of frames and skippable frames.
//!
//! Windows of up to 2^27 bytes are decoded, as zstd(1) does unless told otherwise; dictionaries are not supported.

use crate::image::Format;
use crate::image::blob::BlobFault;
use crate::image::stream::{Halt, Input, Output};
use std::io;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// log2 of the largest window.
const WINDOW_LOG_MAX: u32 = 27;

/// Decodes all frames.
pub fn decode(input: &mut Input, output: &mut Output) -> Result<(), Halt> {
    let mut decoder = Decoder::new().map_err(BlobFault::Io)?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(BlobFault::Io)?;
    let mut within_frame = false;
    loop {
        let from = input.fill()?;
        let at_end = from.is_empty();
        if at_end && !within_frame {
            return Ok(());
        }
        let mut source = InBuffer::around(from);
        let mut target = OutBuffer::around(output.free()?);
        let wanted = decoder.run(&mut source, &mut target).map_err(fault)?;
        let (read, written) = (source.pos(), target.pos());
        within_frame = wanted != 0;
        input.consume(read);
        output.advance(written)?;
        if at_end && within_frame && written == 0 {
            return Err(BlobFault::CutShort(Format::Zstd).into());
        }
    }
}

fn fault(error: io::Error) -> Halt {
    let message = error.to_string();
    // The library's name of ZSTD_error_frameParameter_windowTooLarge; the crate passes on no number.
    if message.contains("too much memory") {
        return BlobFault::Window.into();
    }
    BlobFault::Damaged(Format::Zstd, message.to_lowercase()).into()
}
