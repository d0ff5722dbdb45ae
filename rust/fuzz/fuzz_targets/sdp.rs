//! Session descriptions: reading never panics, what was read keeps within the bounds, an error names a line there is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediaserver_signal::sdp::{Candidate, MAX_FORMATS, MAX_MEDIA, parse};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let _ = Candidate::parse(&text);
    for text in [text.clone(), format!("v=0\r\nm=audio 9 RTP/AVP 0 96\r\n{text}").into()] {
        match parse(&text) {
            Ok(session) => {
                assert!(session.media.len() <= MAX_MEDIA);
                for section in &session.media {
                    assert!(section.codecs().len() <= section.formats.len().min(MAX_FORMATS));
                }
            }
            Err(error) => assert!(error.line <= text.len() + 1),
        }
    }
});
