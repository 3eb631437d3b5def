//! `hba_file`: which client is asked for what, in the syntax of PostgreSQL's `pg_hba.conf`. The first rule
//! that fits counts, and where none fits nobody gets in. What PostgreSQL knows and this does not is refused.

use super::tokens::{Line, SyntaxError, Token, lines};
use ipnet::{IpNet, Ipv4Net};
use serde::Serialize;
use std::net::IpAddr;
use std::path::Path;

/// A client that asks for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// Where it is; none on a Unix socket.
    pub address: Option<IpAddr>,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The database that it names.
    pub database: &'a [u8],
    /// The user that it names.
    pub user: &'a [u8],
}

/// What a client is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The password that the database asks for.
    Passthrough,
    /// SCRAM, by the verifier in `users_file`.
    Scram,
    /// Its certificate.
    Cert,
    /// Nothing: it gets no further.
    Reject,
}

/// What a certificate beside another method must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Of an authority that is trusted.
    VerifyCa,
    /// That, and the user's.
    VerifyFull,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// From 1.
    pub line: usize,
    /// What the client is asked for.
    pub method: Method,
    /// What else it has to show.
    pub client_certificate: Option<ClientCertificate>,
    /// The map in `ident_file` by which certificates are users'.
    pub map: Option<String>,
    /// Whether clients of a sidecar may log in by SCRAM under TLS of their own, which ends there: their
    /// channel is bound to nothing, and somebody between could pass for the sidecar.
    pub unbound: bool,
    kind: Kind,
    databases: Vec<Database>,
    users: Vec<Name>,
    addresses: Addresses,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Local,
    Host,
    HostSsl,
    HostNoSsl,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Database {
    Same,
    /// Connections for replication, of which there are none here.
    Replication,
    Is(Name),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    All,
    Exactly(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Addresses {
    All,
    In(IpNet),
}

impl Name {
    fn fits(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Exactly(exactly) => exactly.as_bytes() == name,
        }
    }
}

impl Database {
    fn fits(&self, connection: &Connection<'_>) -> bool {
        match self {
            Self::Same => connection.database == connection.user,
            Self::Replication => false,
            Self::Is(name) => name.fits(connection.database),
        }
    }
}

impl Rule {
    /// Whether it is for this client.
    pub fn fits(&self, connection: &Connection<'_>) -> bool {
        let by_way = match (self.kind, connection.address) {
            (Kind::Local, None) => true,
            (Kind::Host, Some(_)) => true,
            (Kind::HostSsl, Some(_)) => connection.tls,
            (Kind::HostNoSsl, Some(_)) => !connection.tls,
            _ => false,
        };
        let by_address = match (&self.addresses, connection.address) {
            (Addresses::In(network), Some(address)) => network.contains(&address.to_canonical()),
            _ => true,
        };
        by_way
            && by_address
            && self.databases.iter().any(|database| database.fits(connection))
            && self.users.iter().any(|user| user.fits(connection.user))
    }
}

/// Reads the rules.
pub(super) fn parse(text: &str, file: &Path) -> Result<Vec<Rule>, SyntaxError> {
    lines(text, file)?.iter().map(|line| rule(line).map_err(|problem| line.wrong(file, problem))).collect()
}

fn rule(line: &Line) -> Result<Rule, String> {
    let mut fields = line.fields.iter();
    let kind = match one(fields.next(), "a connection type")? {
        token if token.is("local") => Kind::Local,
        token if token.is("host") => Kind::Host,
        token if token.is("hostssl") => Kind::HostSsl,
        token if token.is("hostnossl") => Kind::HostNoSsl,
        token => {
            return Err(format!("`{}` is none of local, host, hostssl, hostnossl", token.text));
        }
    };
    let databases = fields.next().ok_or("a database is missing")?;
    let databases = databases.iter().map(database).collect::<Result<_, _>>()?;
    let users = fields.next().ok_or("a user is missing")?;
    let users = users.iter().map(name).collect::<Result<_, _>>()?;
    let addresses = match kind {
        Kind::Local => Addresses::All,
        _ => addresses(&mut fields)?,
    };
    let method = match one(fields.next(), "a method")? {
        token if token.is("passthrough") => Method::Passthrough,
        token if token.is("scram") => Method::Scram,
        token if token.is("cert") => Method::Cert,
        token if token.is("reject") => Method::Reject,
        token => return Err(format!("`{}` is none of passthrough, scram, cert, reject", token.text)),
    };
    let mut rule = Rule {
        line: line.number,
        method,
        client_certificate: None,
        map: None,
        unbound: false,
        kind,
        databases,
        users,
        addresses,
    };
    for field in fields {
        option(&mut rule, one(Some(field), "an option")?)?;
    }
    if kind != Kind::HostSsl && method == Method::Cert {
        return Err("the method cert needs hostssl".to_owned());
    }
    if kind != Kind::HostSsl && rule.client_certificate.is_some() {
        return Err("the option clientcert needs hostssl".to_owned());
    }
    if method == Method::Cert && rule.client_certificate == Some(ClientCertificate::VerifyCa) {
        return Err("clientcert=verify-ca says less than the method cert".to_owned());
    }
    if rule.unbound && method != Method::Scram {
        return Err("the option channel_binding needs the method scram".to_owned());
    }
    let by_user = method == Method::Cert || rule.client_certificate == Some(ClientCertificate::VerifyFull);
    if rule.map.is_some() && !by_user {
        return Err("the option map needs the method cert or clientcert=verify-full".to_owned());
    }
    Ok(rule)
}

fn one<'a>(field: Option<&'a Vec<Token>>, what: &str) -> Result<&'a Token, String> {
    match field.map(Vec::as_slice) {
        Some([token]) => Ok(token),
        Some(_) => Err(format!("a list stands in the place of {what}")),
        None => Err(format!("{what} is missing")),
    }
}

fn database(token: &Token) -> Result<Database, String> {
    match token {
        token if token.is("sameuser") => Ok(Database::Same),
        token if token.is("replication") => Ok(Database::Replication),
        token if token.is("samerole") || token.is("samegroup") => {
            Err(format!("`{}` is not supported: only the database knows who is in a role", token.text))
        }
        token => name(token).map(Database::Is),
    }
}

fn name(token: &Token) -> Result<Name, String> {
    let refused = |what: &str| Err(format!("`{}`: {what} (in quotes it is a name)", token.text));
    match token {
        token if token.is("all") => Ok(Name::All),
        token if token.after('+').is_some() => {
            refused("`+` is not supported: only the database knows who is in a role")
        }
        token if token.after('@').is_some() => refused("files of names are not supported"),
        token if token.after('/').is_some() => refused("regular expressions are not supported here"),
        token if token.text.is_empty() => Err("an empty name".to_owned()),
        token => Ok(Name::Exactly(token.text.clone())),
    }
}

fn addresses<'a>(fields: &mut impl Iterator<Item = &'a Vec<Token>>) -> Result<Addresses, String> {
    let token = one(fields.next(), "an address")?;
    if token.is("all") {
        return Ok(Addresses::All);
    }
    if token.is("samehost") || token.is("samenet") {
        return Err(format!("`{}` is not supported: write the network as an address and a mask", token.text));
    }
    let text = token.text.as_str();
    let none =
        || format!("`{text}` is no address with a mask, as 10.0.0.0/8 (names of hosts are not supported)");
    let network = if text.contains('/') {
        text.parse().map_err(|_| none())?
    } else {
        let address: IpAddr = text.parse().map_err(|_| none())?;
        let mask = one(fields.next(), "a mask")?;
        let mask: IpAddr = mask
            .text
            .parse()
            .map_err(|_| format!("`{}` is no mask; write {text}/32 or the like", mask.text))?;
        IpNet::with_netmask(address, mask).map_err(|_| format!("`{mask}` is no mask for {text}"))?
    };
    Ok(Addresses::In(canonical(network)))
}

/// An IPv4 network that is written as one of IPv6 is what it is: clients' addresses are, too.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let (Some(address), Some(prefix)) = (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) else {
        return network;
    };
    Ipv4Net::new(address, prefix).map_or(network, IpNet::V4)
}

fn option(rule: &mut Rule, token: &Token) -> Result<(), String> {
    let set =
        |twice: bool| if twice { Err(format!("`{}` is the second of its kind", token.text)) } else { Ok(()) };
    match token.text.split_once('=') {
        Some(("clientcert", value)) => {
            set(rule.client_certificate.is_some())?;
            rule.client_certificate = Some(match value {
                "verify-ca" => ClientCertificate::VerifyCa,
                "verify-full" => ClientCertificate::VerifyFull,
                _ => return Err(format!("clientcert=`{value}` is neither verify-ca nor verify-full")),
            });
        }
        Some(("map", name)) if !name.is_empty() => {
            set(rule.map.is_some())?;
            rule.map = Some(name.to_owned());
        }
        Some(("channel_binding", "disable")) => {
            set(rule.unbound)?;
            rule.unbound = true;
        }
        _ => {
            return Err(format!("`{}` is none of clientcert=…, map=…, channel_binding=disable", token.text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Rule>, String> {
        parse(text, Path::new("hba")).map_err(|error| error.to_string())
    }

    /// The line of the rule that counts.
    fn line(rules: &[Rule], address: Option<&str>, tls: bool, database: &str, user: &str) -> Option<usize> {
        let address = address.map(|address| address.parse().unwrap());
        let connection = Connection { address, tls, database: database.as_bytes(), user: user.as_bytes() };
        rules.iter().find(|rule| rule.fits(&connection)).map(|rule| rule.line)
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = parsed(
            "local   all       all                                passthrough\n\
             hostssl sameuser  \"all\"     0.0.0.0/0              scram\n\
             host    a,b       eve,mallory all                    reject\n\
             hostssl all       all         10.1.0.0 255.255.0.0   cert map=people\n\
             hostnossl \"sameuser\" all    ::ffff:10.2.0.0/112    passthrough\n\
             host    all       all         2001:db8::/32          scram\n\
             host    replication all       all                    passthrough\n",
        )
        .unwrap();
        for (address, tls, database, user, fits) in [
            (None, false, "x", "y", Some(1)),
            (Some("1.2.3.4"), true, "all", "all", Some(2)),
            (Some("1.2.3.4"), false, "all", "all", None),
            (Some("1.2.3.4"), true, "b", "mallory", Some(3)),
            (Some("1.2.3.4"), true, "c", "mallory", None),
            (Some("10.1.2.3"), true, "c", "mallory", Some(4)),
            (Some("10.1.2.3"), false, "c", "mallory", None),
            (Some("::ffff:10.2.0.9"), false, "sameuser", "x", Some(5)),
            (Some("10.2.0.9"), false, "sameuser", "x", Some(5)),
            (Some("10.2.0.9"), false, "x", "x", None),
            (Some("2001:db8::1"), false, "x", "x", Some(6)),
            (Some("2001:db9::1"), false, "replication", "x", None),
        ] {
            assert_eq!(
                line(&rules, address, tls, database, user),
                fits,
                "{address:?} {tls} {database} {user}"
            );
        }
        let found: Vec<_> = rules.iter().map(|rule| rule.method).collect();
        assert_eq!(found[3..5], [Method::Cert, Method::Passthrough]);
        assert_eq!(rules[3].map.as_deref(), Some("people"));
    }

    #[test]
    fn certificates_beside_other_methods() {
        let rules = parsed("hostssl all all all scram clientcert=verify-full map=m\n").unwrap();
        assert_eq!(rules[0].client_certificate, Some(ClientCertificate::VerifyFull));
        let rules = parsed("hostssl all all all passthrough clientcert=verify-ca").unwrap();
        assert_eq!(rules[0].client_certificate, Some(ClientCertificate::VerifyCa));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_file_and_line() {
        for (text, reason) in [
            ("hostgssenc all all all reject", "none of local, host"),
            ("include other.conf", "none of local, host"),
            ("local all", "a user is missing"),
            ("local all all", "a method is missing"),
            ("local all all trust", "none of passthrough, scram"),
            ("local all all \"scram\"", "none of passthrough, scram"),
            ("host all all scram", "no address with a mask"),
            ("host all all 10.0.0.1 scram", "no mask"),
            ("host all all 10.0.0.0/33 scram", "no address with a mask"),
            ("host all all 10.0.0.0 255.0.255.0 scram", "no mask for"),
            ("host all all samenet scram", "not supported"),
            ("host all all db.example scram", "names of hosts"),
            ("host all +staff all scram", "only the database knows"),
            ("host @names all all scram", "files of names"),
            ("host all /^a all scram", "regular expressions"),
            ("host samerole all all scram", "only the database knows"),
            ("host all all all cert", "needs hostssl"),
            ("host all all all scram clientcert=verify-ca", "needs hostssl"),
            ("hostssl all all all scram clientcert=1", "neither verify-ca nor verify-full"),
            ("hostssl all all all scram map=m", "needs the method cert"),
            ("hostssl all all all cert clientcert=verify-ca", "says less"),
            ("hostssl all all all cert map=a map=b", "second of its kind"),
            ("hostssl all all all scram ldapserver=x", "none of clientcert"),
            ("hostssl all all all cert channel_binding=disable", "needs the method scram"),
            ("hostssl all all all scram channel_binding=prefer", "none of clientcert"),
            ("host,local all all all scram", "a list stands"),
            ("host \"\" all all scram", "an empty name"),
        ] {
            let says = parsed(&format!("# first\n{text}\n")).unwrap_err();
            assert!(says.starts_with("hba, line 2: ") && says.contains(reason), "{text}: {says}");
        }
    }
}
