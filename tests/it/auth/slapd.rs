//! OpenLDAP's server in a folder of its own, with a few people and groups.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::eventually;

/// Names the server's binary if it is not in the path. The files of its package may lie in another folder than `/`.
const BINARY_ENV: &str = "LEVERET_SLAPD";

const ENTRIES: &str = "\
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit

dn: ou=groups,dc=example,dc=com
objectClass: organizationalUnit

dn: cn=reader,dc=example,dc=com
objectClass: organizationalRole
objectClass: simpleSecurityObject
userPassword: readers password

dn: uid=alice,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
cn: Alice
sn: Liddell
uid: alice
mail: alice@example.com
description: ^alice-
userPassword: alice's password

dn: uid=bob,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
cn: Bob
sn: Builder
uid: bob
userPassword: bob's password

dn: cn=v-users,ou=groups,dc=example,dc=com
objectClass: groupOfNames
member: uid=alice,ou=people,dc=example,dc=com
member: uid=bob,ou=people,dc=example,dc=com

dn: cn=administrators,ou=groups,dc=example,dc=com
objectClass: groupOfNames
member: cn=staff,ou=groups,dc=example,dc=com

dn: cn=staff,ou=groups,dc=example,dc=com
objectClass: groupOfNames
member: uid=alice,ou=people,dc=example,dc=com
";

/// A running server. Ends with the test.
pub(super) struct Slapd {
    pub(super) port: u16,
    /// Where it speaks TLS from the first byte.
    pub(super) tls_port: u16,
    /// The certificate of the server for `localhost`, in PEM format.
    pub(super) ca: PathBuf,
    process: Child,
    binary: PathBuf,
    folder: TempDir,
}

impl Slapd {
    /// `None` where OpenLDAP's server is not installed, which is said loudly.
    pub(super) async fn start() -> Option<Slapd> {
        let Some(binary) = binary() else {
            eprintln!(
                "NOT TESTED: slapd is missing. Install Debian's package slapd, or set {BINARY_ENV}."
            );
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let ca = write_configuration(folder.path(), &root_of(&binary));
        let mut add = command(&binary);
        add.args(["-T", "add", "-f"])
            .arg(folder.path().join("slapd.conf"))
            .arg("-l")
            .arg(folder.path().join("entries.ldif"));
        let added = add.output().unwrap();
        assert!(added.status.success(), "{added:?}");
        let (port, tls_port) = (free_port(), free_port());
        let process = serve(&binary, folder.path(), port, tls_port);
        let slapd = Slapd {
            port,
            tls_port,
            ca,
            process,
            binary,
            folder,
        };
        slapd.answers().await;
        Some(slapd)
    }

    /// Ends all connections of the server, and starts it again on the same ports.
    pub(super) async fn restart(&mut self) {
        self.stop();
        self.process = serve(&self.binary, self.folder.path(), self.port, self.tls_port);
        self.answers().await;
    }

    pub(super) fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    async fn answers(&self) {
        let port = self.port;
        eventually("slapd answers", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await;
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().ok();
    }
}

fn binary() -> Option<PathBuf> {
    let named = std::env::var_os(BINARY_ENV).map(PathBuf::from);
    let usual = ["/usr/sbin/slapd", "/usr/local/sbin/slapd"].map(PathBuf::from);
    named.into_iter().chain(usual).find(|path| path.exists())
}

/// The server with the libraries of its own package.
fn command(binary: &Path) -> Command {
    let libraries = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let mut command = Command::new(binary);
    command.env("LD_LIBRARY_PATH", root_of(binary).join(libraries));
    command
}

/// The folder that holds `usr/sbin/slapd`.
fn root_of(binary: &Path) -> PathBuf {
    binary.ancestors().nth(3).unwrap().to_owned()
}

/// Returns the path of the server's certificate.
fn write_configuration(folder: &Path, root: &Path) -> PathBuf {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let path = |name: &str| folder.join(name);
    fs::write(path("entries.ldif"), ENTRIES).unwrap();
    fs::write(path("certificate.pem"), certificate.pem()).unwrap();
    fs::write(path("key.pem"), key.serialize_pem()).unwrap();
    fs::create_dir(path("data")).unwrap();
    let schema = root.join("etc/ldap/schema");
    let configuration = format!(
        "modulepath {modules}\n\
         moduleload back_mdb\n\
         include {schema}/core.schema\n\
         include {schema}/cosine.schema\n\
         include {schema}/inetorgperson.schema\n\
         pidfile {folder}/slapd.pid\n\
         TLSCertificateFile {folder}/certificate.pem\n\
         TLSCertificateKeyFile {folder}/key.pem\n\
         database mdb\n\
         suffix \"dc=example,dc=com\"\n\
         directory {folder}/data\n\
         access to attrs=userPassword by anonymous auth by * none\n\
         access to * by users read by anonymous auth\n",
        modules = root.join("usr/lib/ldap").display(),
        schema = schema.display(),
        folder = folder.display(),
    );
    fs::write(path("slapd.conf"), configuration).unwrap();
    path("certificate.pem")
}

fn serve(binary: &Path, folder: &Path, port: u16, tls_port: u16) -> Child {
    let addresses = format!("ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port}");
    command(binary)
        // It stays in the foreground as long as it logs to the terminal.
        .args(["-d", "0", "-h", &addresses, "-f"])
        .arg(folder.join("slapd.conf"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A port that is free now; slapd cannot choose one and say which.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
