//! Keys as UEFI keeps them: lists of certificates, and the descriptor in front of a variable that says who may set it.
//!
//! ```text
//! EFI_SIGNATURE_LIST                  type (16), bytes of the list (4), of its header (4), of each signature (4)
//!                                     signatures: owner (16), certificate in DER
//! EFI_VARIABLE_AUTHENTICATION_2       time (16), length (4), 0x0200 (2), 0x0ef1 (2), type (16), SignedData of PKCS #7
//! ```
//!
//! A file `NAME.auth` is a descriptor with such a list behind it. What is signed is: name, vendor, attributes, time, list.
//!
//! Specification: UEFI 2.10, 32.4.1 and 8.2.2.

use super::calendar;
use super::gpt::Guid;
use super::u32_at;
use super::x509::Certificate;

/// `EFI_CERT_X509_GUID`.
const X509: [u8; 16] = Guid::new(0xa5c0_59a1, 0x94e4, 0x4aa7, 0x87b5_ab15_5c2b_f072).0;
/// `EFI_CERT_TYPE_PKCS7_GUID`.
const PKCS7: [u8; 16] = Guid::new(0x4aaf_d29d, 0x68df, 0x49ee, 0x8aa9_347d_3756_65a7).0;
/// `EFI_GLOBAL_VARIABLE`.
const GLOBAL: [u8; 16] = Guid::new(0x8be4_df61, 0x93ca, 0x11d2, 0xaa0d_00e0_9803_2b8c).0;
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`.
const DATABASE: [u8; 16] = Guid::new(0xd719_b2cb, 0x3d3a, 0x4596, 0xa3bc_dad0_0e67_656f).0;
/// `NON_VOLATILE`, `BOOTSERVICE_ACCESS`, `RUNTIME_ACCESS`, `TIME_BASED_AUTHENTICATED_WRITE_ACCESS`.
pub const ATTRIBUTES: u32 = 0x27;
/// Most certificates of a file that are looked at.
const MOST: usize = 64;

/// A variable that has keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The platform key: whose may set all others. Without it nothing is verified.
    Pk,
    /// Keys that may change `db`.
    Kek,
    /// Keys whose programs are started.
    Db,
}

impl Variable {
    /// In the order in which they are set: with the first of them the firmware begins to ask for signatures.
    pub const ALL: [Variable; 3] = [Variable::Db, Variable::Kek, Variable::Pk];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Variable::Pk => "PK",
            Variable::Kek => "KEK",
            Variable::Db => "db",
        }
    }

    /// Whose name space it is in.
    pub fn vendor(self) -> [u8; 16] {
        match self {
            Variable::Pk | Variable::Kek => GLOBAL,
            Variable::Db => DATABASE,
        }
    }
}

/// A list of one certificate. `owner` says who put it there.
pub fn encode(certificate: &Certificate, owner: [u8; 16]) -> Vec<u8> {
    let signature = (16 + certificate.der.len()) as u32;
    let fields = [28 + signature, 0, signature].map(u32::to_le_bytes);
    [&X509[..], &fields.concat(), &owner, &certificate.der].concat()
}

/// The certificates of lists one after the other; `None` where they are damaged.
pub fn certificates(mut lists: &[u8]) -> Option<Vec<Certificate>> {
    let mut found = Vec::new();
    while !lists.is_empty() && found.len() < MOST {
        let [size, header, signature] = [16, 20, 24].map(|at| u32_at(lists, at).map(|value| value as usize));
        let (list, signature) = (lists.get(..size?)?, signature?);
        let signatures = list.get(28usize.checked_add(header?)?..)?;
        if signature <= 16 {
            return None;
        }
        if list.starts_with(&X509) {
            let der = signatures.chunks_exact(signature).map(|one| &one[16..]);
            found.extend(der.take(MOST).filter_map(Certificate::parse));
        }
        lists = &lists[list.len()..];
    }
    Some(found)
}

/// `EFI_TIME` of a time in seconds since 1970, in UTC; what must be zero in it is.
pub fn time(seconds: i64) -> [u8; 16] {
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = calendar::day(days);
    let mut time = [0; 16];
    time[..2].copy_from_slice(&(year.clamp(1998, 9999) as u16).to_le_bytes());
    let fields = [month, day, of_day / 3600, of_day / 60 % 60, of_day % 60];
    for (byte, value) in time[2..7].iter_mut().zip(fields) {
        *byte = value as u8;
    }
    time
}

/// The bytes that are signed for a variable to be set to `lists`.
pub fn signed_bytes(variable: Variable, time: &[u8; 16], lists: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = variable.name().bytes().flat_map(|byte| [byte, 0]).collect();
    [&name[..], &variable.vendor(), &ATTRIBUTES.to_le_bytes(), time, lists].concat()
}

/// The file `NAME.auth`. `signed_data` is `SignedData` without the `ContentInfo` around it, as the specification has it.
pub fn authenticated(time: &[u8; 16], signed_data: &[u8], lists: &[u8]) -> Vec<u8> {
    let length = (24 + signed_data.len()) as u32;
    [time, &length.to_le_bytes()[..], &[0x00, 0x02, 0xf1, 0x0e], &PKCS7, signed_data, lists].concat()
}

/// The lists in a file `NAME.auth`; `None` when it is none.
pub fn lists_of(file: &[u8]) -> Option<&[u8]> {
    let length = u32_at(file, 16)? as usize;
    (file.get(20..40)? == [&[0x00, 0x02, 0xf1, 0x0e], &PKCS7[..]].concat()).then_some(())?;
    file.get(16usize.checked_add(length)?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_as_the_firmware_writes_it() {
        assert_eq!(time(951_825_600), [0xd0, 7, 2, 29, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(time(1_796_021_999)[..7], [0xea, 7, 11, 30, 6, 59, 59]);
    }

    #[test]
    fn a_descriptor_is_taken_off_its_lists_or_it_is_none() {
        let file = authenticated(&[0; 16], b"signed", b"lists");
        assert_eq!(file.len(), 40 + 6 + 5);
        assert_eq!(lists_of(&file), Some(&b"lists"[..]));
        for length in 0..46 {
            assert_eq!(lists_of(&file[..length]), None, "{length}");
        }
        let mut other = file.clone();
        other[16..20].fill(0xff);
        assert_eq!(lists_of(&other), None);
        assert_eq!(certificates(b""), Some(vec![]));
        assert_eq!(certificates(&[0xff; 40]), None);
        assert_eq!(certificates(&[0; 40]), None, "a list of no bytes would never end");
    }
}
