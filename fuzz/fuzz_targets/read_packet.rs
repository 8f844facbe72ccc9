//! Any bytes as one packet of each link type, in a sound file.

#![no_main]

use httpsniff::read::read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for link in [0_u32, 1, 12, 101, 108, 113, 276] {
        let mut file = Vec::with_capacity(bytes.len() + 40);
        file.extend(0xa1b2_c3d4_u32.to_le_bytes());
        file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.extend(0x0004_0000_u32.to_le_bytes());
        file.extend(link.to_le_bytes());
        let length = u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes();
        file.extend([0; 8]);
        file.extend(length);
        file.extend(length);
        file.extend(bytes);
        let _ = read(&file[..], &mut |_| Ok(true));
    }
});
