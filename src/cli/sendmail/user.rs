//! Who calls: the name of the user of this process.

use std::fs;

/// The name of the real user: as the system's list has it, else as the login said, else by number. Users of a directory
/// service are not in the list, and those of a container often nowhere.
#[must_use]
pub fn name() -> String {
    let id = rustix::process::getuid().as_raw();
    let list = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of_login =
        || ["LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok()).filter(|name| is_plain(name));
    listed(&list, id).or_else(of_login).unwrap_or_else(|| format!("user{id}"))
}

/// The name of a user in a list of users (passwd(5)).
fn listed(list: &str, id: u32) -> Option<String> {
    let of_line = |line: &str| {
        let mut parts = line.split(':');
        let (name, number) = (parts.next()?, parts.nth(1)?);
        (number.parse() == Ok(id) && is_plain(name)).then(|| name.to_owned())
    };
    list.lines().find_map(of_line)
}

/// Whether it can stand in an address as it is.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-+$".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let list = "root:x:0:0:root:/root:/bin/sh\nbad\nodd name:x:7:7::/:\nwww-data:x:33:33::/var/www:\n";
        assert_eq!(listed(list, 33).as_deref(), Some("www-data"));
        assert_eq!(listed(list, 0).as_deref(), Some("root"));
        assert_eq!((listed(list, 7), listed(list, 1)), (None, None));
    }
}
