//! Which Windows a machine runs, by the numbers that it tells (MS-WUSP 2.2.2.2.3): the text that agents send says "Windows 10" on
//! Windows 11 too. A build that is not in the table is called by its number; nothing is decided by these names.

use std::fmt;

/// What a machine is for, by `OldProductType` (`wProductType` of OSVERSIONINFOEX).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A client.
    Workstation,
    /// A server that is a domain controller.
    DomainController,
    /// Another server.
    Server,
}

impl Role {
    /// The role of that number, if it is one.
    pub const fn of(product: u32) -> Option<Self> {
        match product {
            1 => Some(Self::Workstation),
            2 => Some(Self::DomainController),
            3 => Some(Self::Server),
            _ => None,
        }
    }

    /// Whether it is a server: other people work on it, so that a restart is nobody's own business.
    pub const fn is_server(self) -> bool {
        matches!(self, Self::DomainController | Self::Server)
    }
}

/// Version, build, and what that is called on clients and on servers; empty where there is none of that kind.
const BUILDS: &[(u32, u32, u32, &str, &str)] = &[
    (5, 1, 2600, "Windows XP", ""),
    (5, 2, 3790, "Windows XP x64", "Windows Server 2003"),
    (6, 0, 6000, "Windows Vista", ""),
    (6, 0, 6001, "Windows Vista SP1", "Windows Server 2008"),
    (6, 0, 6002, "Windows Vista SP2", "Windows Server 2008 SP2"),
    (6, 0, 6003, "", "Windows Server 2008 SP2"),
    (6, 1, 7600, "Windows 7", "Windows Server 2008 R2"),
    (6, 1, 7601, "Windows 7 SP1", "Windows Server 2008 R2 SP1"),
    (6, 2, 9200, "Windows 8", "Windows Server 2012"),
    (6, 3, 9600, "Windows 8.1", "Windows Server 2012 R2"),
    (10, 0, 10240, "Windows 10 1507", ""),
    (10, 0, 10586, "Windows 10 1511", ""),
    (10, 0, 14393, "Windows 10 1607", "Windows Server 2016"),
    (10, 0, 15063, "Windows 10 1703", ""),
    (10, 0, 16299, "Windows 10 1709", "Windows Server 1709"),
    (10, 0, 17134, "Windows 10 1803", "Windows Server 1803"),
    (10, 0, 17763, "Windows 10 1809", "Windows Server 2019"),
    (10, 0, 18362, "Windows 10 1903", "Windows Server 1903"),
    (10, 0, 18363, "Windows 10 1909", "Windows Server 1909"),
    (10, 0, 19041, "Windows 10 2004", "Windows Server 2004"),
    (10, 0, 19042, "Windows 10 20H2", "Windows Server 20H2"),
    (10, 0, 19043, "Windows 10 21H1", ""),
    (10, 0, 19044, "Windows 10 21H2", ""),
    (10, 0, 19045, "Windows 10 22H2", ""),
    (10, 0, 20348, "", "Windows Server 2022"),
    (10, 0, 22000, "Windows 11 21H2", ""),
    (10, 0, 22621, "Windows 11 22H2", ""),
    (10, 0, 22631, "Windows 11 23H2", ""),
    (10, 0, 25398, "", "Windows Server 23H2"),
    (10, 0, 26100, "Windows 11 24H2", "Windows Server 2025"),
    (10, 0, 26200, "Windows 11 25H2", ""),
];

/// A system by its numbers; shown by the name that people have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Major version.
    pub major: u32,
    /// Minor version.
    pub minor: u32,
    /// Build.
    pub build: u32,
    /// What it is for, where it says so.
    pub role: Option<Role>,
}

impl Windows {
    /// The names of its build on clients and on servers.
    fn names(self) -> Option<(&'static str, &'static str)> {
        let is_it = |row: &&(u32, u32, u32, &str, &str)| (row.0, row.1, row.2) == (self.major, self.minor, self.build);
        BUILDS.iter().find(is_it).map(|row| (row.3, row.4))
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, server) = self.names().unwrap_or_default();
        let is_server = self.role.map(Role::is_server);
        match (client, server, is_server) {
            (_, name, Some(true)) | (name, _, Some(false)) | (name, "", None) | ("", name, None)
                if !name.is_empty() =>
            {
                f.write_str(name)
            }
            (client, server, None) if !client.is_empty() => {
                write!(f, "{client} / {}", server.trim_start_matches("Windows "))
            }
            _ if (self.major, self.minor, self.build) == (0, 0, 0) => f.write_str("unknown"),
            _ => {
                let kind = if is_server == Some(true) { " Server" } else { "" };
                write!(f, "Windows{kind} {}.{}.{}", self.major, self.minor, self.build)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(major: u32, minor: u32, build: u32, product: u32) -> String {
        Windows { major, minor, build, role: Role::of(product) }.to_string()
    }

    #[test]
    fn a_build_has_the_name_that_people_have_for_it() {
        assert_eq!(name(10, 0, 26100, 1), "Windows 11 24H2");
        assert_eq!(name(10, 0, 26100, 3), "Windows Server 2025");
        assert_eq!(name(10, 0, 26100, 2), "Windows Server 2025");
        assert_eq!(name(10, 0, 26100, 0), "Windows 11 24H2 / Server 2025");
        assert_eq!(name(10, 0, 20348, 0), "Windows Server 2022");
        assert_eq!(name(10, 0, 22631, 0), "Windows 11 23H2");
        assert_eq!(name(10, 0, 19045, 1), "Windows 10 22H2");
        assert_eq!(name(6, 3, 9600, 3), "Windows Server 2012 R2");
    }

    #[test]
    fn a_build_that_nobody_knows_is_called_by_its_number() {
        assert_eq!(name(10, 0, 99_999, 1), "Windows 10.0.99999");
        assert_eq!(name(10, 0, 99_999, 3), "Windows Server 10.0.99999");
        assert_eq!(name(10, 0, 22631, 3), "Windows Server 10.0.22631", "a client's build says nothing of a server");
        assert_eq!(name(0, 0, 0, 0), "unknown");
        assert_eq!(name(11, 0, 26100, 77), "Windows 11.0.26100");
    }
}
