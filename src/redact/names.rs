//! Which names promise a secret.
//!
//! Names are compared by their letters and digits only, in lower case and
//! with percent-encoding undone: `X-Api-Key`, `x_api_key`, `user[password]`
//! and `access%5Ftoken` need no entries of their own.

/// Ends of names that are secret wherever they occur.
const ENDS: [&[u8]; 17] = [
    b"token",
    b"secret",
    b"password",
    b"passwd",
    b"passphrase",
    b"apikey",
    b"accesskey",
    b"secretkey",
    b"privatekey",
    b"subscriptionkey",
    b"authkey",
    b"signature",
    b"credential",
    b"credentials",
    b"sessionid",
    b"sessid",
    b"authorization",
];

/// Field names beside those of [`ENDS`].
const FIELDS: [&[u8]; 9] = [
    b"cookie",
    b"cookie2",
    b"setcookie",
    b"setcookie2",
    b"authenticationinfo",
    b"proxyauthenticationinfo",
    b"xapisecretkey",
    b"xfunctionskey",
    b"xsession",
];

/// Names of query parameters and of variables beside those of [`ENDS`].
const PARAMETERS: [&[u8]; 17] = [
    b"key",
    b"pwd",
    b"pass",
    b"sig",
    b"auth",
    b"code",
    b"session",
    b"sid",
    b"jwt",
    b"otp",
    b"pin",
    b"ticket",
    b"assertion",
    b"samlresponse",
    b"samlrequest",
    b"xamzcredential",
    b"cookie",
];

/// Fields without which a message cannot be read.
const FRAMING: [&[u8]; 7] = [
    b"contentlength",
    b"transferencoding",
    b"contentencoding",
    b"connection",
    b"upgrade",
    b"expect",
    b"trailer",
];

/// Schemes of credentials (IANA's registry, and common ones outside it). A
/// first word that is none of them may be the secret itself.
const SCHEMES: [&str; 23] = [
    "apikey",
    "aws",
    "aws4-hmac-sha256",
    "basic",
    "bearer",
    "concealed",
    "digest",
    "dpop",
    "gnap",
    "hawk",
    "hmac",
    "hoba",
    "jwt",
    "key",
    "mutual",
    "negotiate",
    "ntlm",
    "oauth",
    "privatetoken",
    "scram-sha-1",
    "scram-sha-256",
    "token",
    "vapid",
];

/// Longer names are looked at by their ends.
const LONGEST: usize = 64;

/// The secret names of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    extra: Vec<Vec<u8>>,
}

impl Names {
    pub(super) fn new(extra: &[String]) -> Self {
        let plain = |name: &String| Plain::of(name.as_bytes()).as_slice().to_vec();
        Self {
            extra: extra
                .iter()
                .map(plain)
                .filter(|name| !name.is_empty())
                .collect(),
        }
    }

    /// Whether the value of a field is secret.
    pub(super) fn is_secret_field(&self, name: &[u8]) -> bool {
        let plain = Plain::of(name);
        let name = plain.as_slice();
        !FRAMING.contains(&name) && (self.known(name) || FIELDS.contains(&name))
    }

    /// Whether the value of a query parameter, a variable or a long option is
    /// secret.
    pub(super) fn is_secret_parameter(&self, name: &[u8]) -> bool {
        let plain = Plain::of(name);
        let name = plain.as_slice();
        self.known(name) || PARAMETERS.contains(&name)
    }

    fn known(&self, name: &[u8]) -> bool {
        ENDS.iter().any(|end| name.ends_with(end)) || self.extra.iter().any(|e| e == name)
    }
}

/// Whether a secret field begins with the name of a scheme.
pub(super) fn has_scheme(name: &[u8]) -> bool {
    Plain::of(name).as_slice().ends_with(b"authorization")
}

/// How much of a value of Authorization is white space and the name of the
/// scheme, which say nothing secret; 0 if there is no known one, or nothing
/// behind it.
pub(super) fn scheme_length(value: &[u8]) -> usize {
    let start = value.len() - value.trim_ascii_start().len();
    let rest = value.get(start..).unwrap_or_default();
    let Some(end) = rest.iter().position(u8::is_ascii_whitespace) else {
        return 0;
    };
    let word = rest.get(..end).unwrap_or_default();
    let known = SCHEMES
        .iter()
        .any(|scheme| scheme.as_bytes().eq_ignore_ascii_case(word));
    if known { start + end } else { 0 }
}

/// Letters and digits of a name, on the stack.
struct Plain {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Plain {
    fn of(name: &[u8]) -> Self {
        let mut plain = Self {
            bytes: [0; LONGEST],
            length: 0,
        };
        // Percent-encoding makes three bytes of one.
        let from = name.len().saturating_sub(3 * LONGEST);
        let mut rest = name.get(from..).unwrap_or_default();
        while let Some((&byte, after)) = rest.split_first() {
            let (byte, after) = match (byte, after) {
                (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                    (Some(high), Some(low)) => (high << 4 | low, after),
                    _ => (byte, rest.get(1..).unwrap_or_default()),
                },
                plain => plain,
            };
            if byte.is_ascii_alphanumeric() {
                plain.push(byte.to_ascii_lowercase());
            }
            rest = after;
        }
        plain
    }

    fn push(&mut self, byte: u8) {
        if self.length == LONGEST {
            self.bytes.rotate_left(1);
            self.length -= 1;
        }
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}
