//! Prometheus' `U__` escaping of names that have more than ASCII letters, digits and `_`: how a
//! path names them.

/// The name that `text` stands for. Without the prefix, or where the escape is not one, the text
/// itself.
pub(super) fn unescape(text: &str) -> String {
    text.strip_prefix("U__").and_then(decode).unwrap_or_else(|| text.to_string())
}

/// `__` is an underscore, `_<hex>_` a character.
fn decode(mut rest: &str) -> Option<String> {
    let mut name = String::with_capacity(rest.len());
    while let Some(at) = rest.find('_') {
        name.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest.find('_')?;
        match &rest[..end] {
            "" => name.push('_'),
            // The longest character has six digits.
            hex if hex.len() <= 6 => name.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?),
            _ => return None,
        }
        rest = &rest[end + 1..];
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let cases = [
            ("job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U___e9_t_e9_", "été"),
            ("U__", ""),
            ("U__broken_", "U__broken_"),
            ("U__x_zz_", "U__x_zz_"),
            ("U__x_d800_", "U__x_d800_"),
        ];
        for (text, name) in cases {
            assert_eq!(unescape(text), name, "{text}");
        }
    }
}
