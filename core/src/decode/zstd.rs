//! `zstd-stream`: one zstd frame for the whole connection that is flushed after each payload and never
//! ended. One message is one payload, so nothing waits for the next message; what zstd says it would
//! like to read next is no sign of anything.

use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{
    self, DCtx, DParameter, ErrorCode, InBuffer, OutBuffer, ResetDirective, get_error_name,
};

use super::buffer::Buffer;
use super::error::{DecodeError, TooLarge};
use super::{Found, is_whole};

/// The largest window accepted: 2^23 bytes, 8 MiB. It is memory every shard would have to hold.
const WINDOW_LOG_MAX: u32 = 23;

/// The context of `zstd-stream`: one a connection.
pub(super) struct ZstdStream {
    // None if zstd had no memory for it.
    context: Option<DCtx<'static>>,
    untouched: bool,
}

impl ZstdStream {
    pub(super) fn new() -> Self {
        Self {
            context: new_context(),
            untouched: true,
        }
    }

    pub(super) fn reset(&mut self) {
        self.untouched = true;
        let reused = self
            .context
            .as_mut()
            .is_some_and(|context| context.reset(ResetDirective::SessionOnly).is_ok());
        if !reused {
            self.context = new_context();
        }
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.untouched
    }

    pub(super) fn memory(&self) -> usize {
        self.context.as_ref().map_or(0, DCtx::sizeof)
    }

    pub(super) fn feed(
        &mut self,
        message: &[u8],
        output: &mut Buffer,
        limit: usize,
    ) -> Result<Found, DecodeError> {
        self.untouched = false;
        let context = self
            .context
            .as_mut()
            .ok_or_else(|| DecodeError::corrupt("no memory for a zstd context"))?;
        let mut input = InBuffer::around(message);
        loop {
            output.make_room(limit)?;
            let (in_before, out_before) = (input.pos(), output.bytes.len());
            let mut room = OutBuffer::around_pos(&mut output.bytes, out_before);
            context
                .decompress_stream(&mut room, &mut input)
                .map_err(explain)?;
            output.check(limit)?;
            let used_up = input.pos() == message.len();
            if used_up && output.bytes.len() < output.bytes.capacity() {
                break;
            }
            if input.pos() == in_before && output.bytes.len() == out_before {
                if used_up {
                    break;
                }
                return Err(DecodeError::corrupt("no progress"));
            }
        }
        if is_whole(&output.bytes) {
            Ok(Found::One)
        } else {
            Err(DecodeError::Truncated)
        }
    }
}

fn new_context() -> Option<DCtx<'static>> {
    let mut context = DCtx::try_create()?;
    context
        .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
        .ok()?;
    Some(context)
}

fn explain(code: ErrorCode) -> DecodeError {
    let too_wide = ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge;
    if zstd_safe::is_error_kind(code, too_wide) {
        return DecodeError::TooLarge {
            limit: 1 << WINDOW_LOG_MAX,
            what: TooLarge::Window,
        };
    }
    DecodeError::corrupt(get_error_name(code))
}
