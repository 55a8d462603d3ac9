//! Texts with variables, such as `cn=${username},ou=people`. In distinguished names the values are escaped, so that no
//! user name reaches another entry. Pure.

/// The values of variables, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Variables(Vec<(&'static str, String)>);

/// The variable that holds a whole distinguished name, and is not escaped.
const USER_DN: &str = "user_dn";
const USERNAME: &str = "username";

impl Variables {
    /// The variables of a user: its name, and both parts of a name as in Active Directory (`DOMAIN\user`).
    pub(super) fn of_user(username: &str) -> Variables {
        let mut variables = Variables(vec![(USERNAME, username.to_owned())]);
        if let Some((domain, user)) = domain_and_user(username) {
            variables.set("ad_domain", domain);
            variables.set("ad_user", user);
        }
        variables
    }

    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.0.push((name, value.to_owned()));
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Replaces each `${name}` by the value as it is. An unknown name stays.
    pub(super) fn fill(&self, pattern: &str) -> String {
        replace(pattern, |name| self.get(name).map(str::to_owned))
    }

    /// As [`Variables::fill`], for a distinguished name.
    pub(super) fn fill_dn(&self, pattern: &str) -> String {
        let is_domain_user = self.get(USERNAME).and_then(domain_and_user);
        let is_domain_user = is_domain_user.is_some_and(|(_, user)| is_plain(user));
        replace(pattern, |name| match name {
            USER_DN => self.get(USER_DN).map(str::to_owned),
            "ad_domain" | "ad_user" if !is_domain_user => None,
            USERNAME if is_domain_user => {
                // The backslash stays: Active Directory knows the user by it.
                let parts = ["ad_domain", "ad_user"].map(|part| self.get(part));
                let [domain, user] = parts.map(|part| escape(part.unwrap_or_default()));
                Some(format!("{domain}\\{user}"))
            }
            name => self.get(name).map(escape),
        })
    }
}

/// The parts of `DOMAIN\user`.
fn domain_and_user(username: &str) -> Option<(&str, &str)> {
    let (domain, user) = username.split_once('\\')?;
    (!domain.is_empty() && !user.is_empty()).then_some((domain, user))
}

/// Whether a user's name may follow a bare backslash. One that begins with a backslash when it is escaped would take the
/// bare one for itself, and the character after both would count as not escaped.
fn is_plain(user: &str) -> bool {
    !user.contains('\\') && !escape(user).starts_with('\\')
}

/// Escapes the value of an attribute in a distinguished name (RFC 4514, section 2.4).
fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(value.len());
    for (index, character) in value.chars().enumerate() {
        let is_special = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => true,
            ' ' => index == 0 || index == last,
            '#' => index == 0,
            _ => false,
        };
        match character {
            '\0' => escaped.push_str("\\00"),
            special if is_special => escaped.extend(['\\', special]),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Replaces each variable by its value. Values are not searched for variables again.
fn replace(pattern: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let known = after
            .split_once('}')
            .and_then(|(name, rest)| Some((value(name)?, rest)));
        rest = match known {
            Some((value, rest)) => {
                filled.push_str(&value);
                rest
            }
            None => {
                filled.push_str("${");
                after
            }
        };
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_once() {
        let mut variables = Variables::of_user("${vhost}");
        variables.set("vhost", "v");
        for (pattern, expected) in [
            ("${username}", "${vhost}"),
            ("a${vhost}b${vhost}", "avbv"),
            ("${unknown}${vhost}", "${unknown}v"),
            ("${vhost", "${vhost"),
            ("$vhost}", "$vhost}"),
            ("", ""),
        ] {
            assert_eq!(variables.fill(pattern), expected);
        }
    }

    #[test]
    fn values_are_escaped_in_distinguished_names() {
        for (username, expected) in [
            ("alice", "cn=alice,ou=people"),
            ("a,ou=admins", "cn=a\\,ou\\=admins,ou=people"),
            (" a #", "cn=\\ a #,ou=people"),
            ("#a ", "cn=\\#a\\ ,ou=people"),
            (" ", "cn=\\ ,ou=people"),
            ("a+b\"<>;\0", "cn=a\\+b\\\"\\<\\>\\;\\00,ou=people"),
            ("DOMAIN\\user", "cn=DOMAIN\\user,ou=people"),
            ("DO,MAIN\\us,er", "cn=DO\\,MAIN\\us\\,er,ou=people"),
            ("DOMAIN\\,user", "cn=DOMAIN\\\\\\,user,ou=people"),
            ("a\\b\\c", "cn=a\\\\b\\\\c,ou=people"),
            ("\\user", "cn=\\\\user,ou=people"),
        ] {
            let variables = Variables::of_user(username);
            let filled = variables.fill_dn("cn=${username},ou=people");
            assert_eq!(filled, expected, "{username}");
        }
        let mut variables = Variables::of_user("alice");
        variables.set("user_dn", "cn=a\\,b,ou=people");
        variables.set("vhost", "v,w");
        assert_eq!(
            variables.fill_dn("${user_dn},ou=${vhost}"),
            "cn=a\\,b,ou=people,ou=v\\,w"
        );
    }

    #[test]
    fn names_of_active_directory_have_two_parts() {
        for (username, expected) in [
            ("D\\u", "D/u"),
            ("alice", "${ad_domain}/${ad_user}"),
            ("D\\,u", "${ad_domain}/${ad_user}"),
        ] {
            let filled = Variables::of_user(username).fill_dn("${ad_domain}/${ad_user}");
            assert_eq!(filled, expected);
        }
    }
}
