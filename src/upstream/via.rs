//! `Via` (RFC 9110 7.6.3): stops loops between nodes, and chains that are too long.

/// What is sent onward: what came, and this node at its end. `Err` says why nothing may be sent.
pub(super) fn onward(came: Option<&str>, node: &str, hops_max: u32) -> Result<String, String> {
    let came = came.map(str::trim).filter(|came| !came.is_empty());
    let hops = came.map(receivers).unwrap_or_default();
    if hops.iter().any(|hop| hop.eq_ignore_ascii_case(node)) {
        return Err(format!(
            "the request has been at this node ({node}) before: an upstream or a name leads back to it, or two nodes have one name"
        ));
    }
    if u32::try_from(hops.len()).unwrap_or(u32::MAX) >= hops_max {
        return Err(format!("the request came over {} hops, and {hops_max} are the most", hops.len()));
    }
    Ok(match came {
        // Whatever is no plain text would keep the whole field from being sent, and loops from being seen.
        Some(came) => format!("{}, 1.1 {node}", came.replace(|letter| !(' '..='~').contains(&letter), "?")),
        None => format!("1.1 {node}"),
    })
}

/// Whether this node is named in a `Via`.
pub(super) fn names(via: &str, node: &str) -> bool {
    receivers(via).iter().any(|hop| hop.eq_ignore_ascii_case(node))
}

/// Who is named in a `Via`, in order: the second word of each element; commas in comments divide nothing.
fn receivers(via: &str) -> Vec<String> {
    let mut depth = 0_u32;
    let mut bare = String::with_capacity(via.len());
    for letter in via.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => bare.push(letter),
            _ => {}
        }
    }
    bare.split(',').filter_map(|element| element.split_whitespace().nth(1)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_and_refuses() {
        assert_eq!(onward(None, "ws-a", 4).unwrap(), "1.1 ws-a");
        assert_eq!(onward(Some(" 1.1 ws-b "), "ws-a", 4).unwrap(), "1.1 ws-b, 1.1 ws-a");
        assert_eq!(onward(Some("HTTP/1.1 p (a, 1.1 ws-a)"), "ws-a", 4).unwrap(), "HTTP/1.1 p (a, 1.1 ws-a), 1.1 ws-a");
        assert!(onward(Some("1.1 x, 1.1 WS-A (again)"), "ws-a", 4).unwrap_err().contains("before"));
        assert!(onward(Some("1.1 a, 1.1 b, 1.1 c, 1.1 d"), "ws-a", 4).unwrap_err().contains("4 hops"));
        assert!(onward(Some("1.1 a, 1.1 b, 1.1 c"), "ws-a", 4).is_ok());
        assert_eq!(onward(Some("1.1 b (é\n)"), "ws-a", 4).unwrap(), "1.1 b (??), 1.1 ws-a");
        assert!(names("1.1 ws-a", "ws-a") && !names("1.1 ws-ab", "ws-a"));
    }
}
