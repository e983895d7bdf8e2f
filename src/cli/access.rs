//! `accounts ...`, `tokens ...`, `audit ...`: who may come in, and who did what.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::Path;

use console::Term;

use crate::admin::view::accounts::{
    Account, AccountRequest, Accounts, Audit, AuditChecked, Gone, SetupCode, Token, TokenMade, TokenRequest, Tokens,
};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::node::{Node, segment};
use crate::cli::print::{Grid, Out, add, printable};
use crate::cli::verbs::access::{AccountsVerb, AuditVerb, PasswordArgs, TokensVerb};

const ACCOUNTS: &str = "/api/v1/accounts";
const TOKENS: &str = "/api/v1/tokens";
/// Bytes of a password file that are read.
const PASSWORD_MAX: u64 = 4 << 10;

fn first_line(from: impl Read) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(from.take(PASSWORD_MAX)).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The password of a file, or of whoever sits there, who types it twice.
fn password(asked: &PasswordArgs) -> Result<String, Fail> {
    let failed = |what: String| Fail::new(what, "name a file with the password in its first line with --password-file");
    match &asked.password_file {
        Some(file) if file == Path::new("-") => {
            first_line(io::stdin().lock()).map_err(|error| failed(format!("standard input: {error}")))
        }
        Some(file) => {
            File::open(file).and_then(first_line).map_err(|error| failed(format!("{}: {error}", file.display())))
        }
        None if io::stdin().is_terminal() => {
            let term = Term::stderr();
            let ask = |what: &str| {
                let said = term.write_str(what).and_then(|()| term.read_secure_line());
                said.map_err(|error| failed(format!("the terminal: {error}")))
            };
            let first = ask("New password: ")?;
            if first != ask("The same again: ")? {
                return Err(Fail::new("the two passwords differ", "try again"));
            }
            Ok(first)
        }
        None => Err(failed("there is nobody to ask for the password".to_owned())),
    }
}

pub(in crate::cli) fn accounts(loaded: &Loaded, verb: AccountsVerb, out: Out) -> Result<(), Fail> {
    if let AccountsVerb::SetupCode = verb {
        return super::with(super::running(loaded)?, async |node| {
            let code: SetupCode = node.post("/api/v1/setup-code", &()).await?;
            out.both(&code, |code| {
                format!("{} has a new code, good until {}; type it at /set-up\n", code.file, code.until)
            })
        });
    }
    let word = match &verb {
        AccountsVerb::Add { password: asked, .. } | AccountsVerb::Password { password: asked, .. } => {
            Some(password(asked)?)
        }
        _ => None,
    };
    super::with(Node::any(loaded, false)?, async |node| {
        let (name, asked) = match verb {
            AccountsVerb::List | AccountsVerb::SetupCode => {
                let accounts: Accounts = node.get(ACCOUNTS).await?;
                return out.both(&accounts, listed);
            }
            AccountsVerb::Remove { name } => {
                let gone: Gone = node.delete(&format!("{ACCOUNTS}/{}", segment(&name))).await?;
                return out.both(&gone, |gone| format!("{} is gone, with its sessions and tokens\n", gone.gone));
            }
            AccountsVerb::Add { name, role, groups, .. } => {
                let asked = AccountRequest { name: Some(name), role: Some(role), groups: Some(groups), password: word };
                (None, asked)
            }
            AccountsVerb::Set { name, role, groups, everywhere } => {
                let groups = (everywhere || !groups.is_empty()).then_some(groups);
                (Some(name), AccountRequest { role, groups, ..AccountRequest::default() })
            }
            AccountsVerb::Password { name, .. } => {
                (Some(name), AccountRequest { password: word, ..AccountRequest::default() })
            }
        };
        let path = name.map_or_else(|| ACCOUNTS.to_owned(), |name| format!("{ACCOUNTS}/{}", segment(&name)));
        let account: Account = node.post(&path, &asked).await?;
        out.both(&account, |account| listed(&Accounts { rows: vec![account.clone()] }))
    })
}

fn listed(accounts: &Accounts) -> String {
    if accounts.rows.is_empty() {
        return "nobody can sign in yet: open the console with the set-up code, or `waystation accounts add`\n".into();
    }
    let mut grid = Grid::new(&["name", "role", "groups", "signed in", "password since"]);
    for row in &accounts.rows {
        let groups = if row.groups.is_empty() { "everywhere".to_owned() } else { printable(&row.groups.join(", ")) };
        let seen = row.seen.map_or_else(|| "never".to_owned(), |at| at.to_string());
        grid.row([row.name.clone(), row.role.clone(), groups, seen, row.password_at.to_string()]);
    }
    grid.text()
}

pub(in crate::cli) fn tokens(loaded: &Loaded, verb: TokensVerb, out: Out) -> Result<(), Fail> {
    super::with(Node::any(loaded, false)?, async |node| match verb {
        TokensVerb::List => {
            let tokens: Tokens = node.get(TOKENS).await?;
            out.both(&tokens, |tokens| told(&tokens.rows))
        }
        TokensVerb::Make { name, account, scopes, role, groups, days } => {
            let asked = TokenRequest { name, account, role, groups, scopes, days: Some(days) };
            let made: TokenMade = node.post(TOKENS, &asked).await?;
            if out.is_json() {
                return out.json(&made);
            }
            out.line(&made.secret)?;
            out.aside(&format!(
                "token {} of {}, good until {}: it is not told again",
                made.token.id, made.token.account, made.token.until
            ));
            Ok(())
        }
        TokensVerb::Revoke { id } => {
            let gone: Gone = node.delete(&format!("{TOKENS}/{}", segment(&id))).await?;
            out.both(&gone, |gone| format!("token {} is revoked\n", gone.gone))
        }
    })
}

fn told(tokens: &[Token]) -> String {
    if tokens.is_empty() {
        return "no tokens; `waystation tokens make` makes one\n".into();
    }
    let mut grid = Grid::new(&["id", "name", "account", "role", "scopes", "until", "used"]);
    for row in tokens {
        let used = row.used.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let scopes = row.scopes.join(" ");
        grid.row([
            row.id.clone(),
            printable(&row.name),
            row.account.clone(),
            row.role.clone(),
            scopes,
            row.until.to_string(),
            used,
        ]);
    }
    grid.text()
}

pub(in crate::cli) fn audit(loaded: &Loaded, verb: &AuditVerb, out: Out) -> Result<(), Fail> {
    super::with(Node::any(loaded, false)?, async |node| match verb {
        AuditVerb::List { limit, before } => {
            let before = before.map(|before| format!("&before={before}")).unwrap_or_default();
            let audit: Audit = node.get(&format!("/api/v1/audit?limit={limit}{before}")).await?;
            out.both(&audit, entries)
        }
        AuditVerb::Check => {
            let checked: AuditChecked = node.get("/api/v1/audit/check").await?;
            out.both(&checked, found)?;
            if checked.whole { Ok(()) } else { Err(super::found_wrong("the audit log is not what was written")) }
        }
    })
}

fn entries(audit: &Audit) -> String {
    if audit.rows.is_empty() {
        return "nothing was changed yet\n".into();
    }
    let mut grid = Grid::new(&["number", "at", "who", "from", "what", "answer"]);
    for row in &audit.rows {
        let what = if row.target.is_empty() {
            printable(&row.what)
        } else {
            let method = row.what.split(' ').next().unwrap_or_default();
            format!("{method} {}", printable(&row.target))
        };
        let from = if row.from.is_empty() { "socket".to_owned() } else { printable(&row.from) };
        grid.row([
            row.number.to_string(),
            row.at.to_string(),
            printable(&row.who),
            from,
            what,
            row.outcome.to_string(),
        ]);
    }
    let mut text = grid.text();
    if let Some(next) = audit.next {
        add(&mut text, format_args!("\nearlier ones: waystation audit list --before {next}; all of each: --json\n"));
    }
    text
}

fn found(checked: &AuditChecked) -> String {
    match (&checked.broken, checked.first, checked.last) {
        (Some(broken), ..) => format!("NOT WHOLE: {}\n", printable(broken)),
        (None, Some(first), Some(last)) => format!(
            "{} entries, {first} to {last}, are as they were written\nlast hash {}\n",
            checked.entries, checked.head
        ),
        _ => "the log is empty\n".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_alone() {
        assert_eq!(first_line(&b"a b c\r\nmore"[..]).unwrap(), "a b c");
        assert_eq!(first_line(&b""[..]).unwrap(), "");
        assert!(
            found(&AuditChecked { broken: Some("x\u{1b}".into()), ..AuditChecked::default() })
                .starts_with("NOT WHOLE: x")
        );
    }
}
