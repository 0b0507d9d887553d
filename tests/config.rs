//! The configuration as users meet it: every file in `tests/config` with exactly what is said about it, variables
//! as a table, and `relay.example.toml`.

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;
use smarthost::config::{self, Environment, Loaded, Mistakes, keys};
use smarthost::delivery::repair::FromRule;
use smarthost::listener::Host;
use smarthost::log::Format;
use smarthost::policy::{AliasKey, Pattern};
use smarthost::upstream::connect::TlsMode;

/// Names with their values.
type Variables<'a> = &'a [(&'a str, &'a str)];

const ACCOUNT: [(&str, &str); 2] = [("GMAIL_USER", "me@gmail.com"), ("GMAIL_APP_PASSWORD", "abcd efgh ijkl mnop")];
const EXAMPLE: &str = include_str!("../relay.example.toml");

fn environment(variables: Variables) -> Environment {
    Environment {
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        machine_name: "nas".to_owned(),
        system_spool_usable: true,
        usual_files: Vec::new(),
        in_container: false,
        gateways: vec![[172, 17, 0, 1].into()],
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("a temporary folder can be written");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the file is ours");
}

/// A folder with this configuration, and with passwords in files that only we, and that everybody can read.
fn folder_with(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let file = folder.path().join("relay.toml");
    write(&file, text, 0o600);
    write(&folder.path().join("app_password"), "abcd efgh ijkl mnop\n", 0o600);
    write(&folder.path().join("app_password_open"), "abcd efgh ijkl mnop\n", 0o644);
    (folder, file)
}

fn load_text(text: &str, variables: Variables) -> Result<Loaded, Mistakes> {
    let (_folder, file) = folder_with(text);
    config::load(Some(&file), &environment(variables))
}

/// What a user sees: the mistakes, or else the warnings.
fn said(outcome: &Result<Loaded, Mistakes>) -> String {
    let lines = match outcome {
        Err(mistakes) => mistakes.0.clone(),
        Ok(loaded) => loaded.warnings.iter().map(|warning| format!("warning: {warning}")).collect(),
    };
    lines.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect()
}

#[test]
fn every_mistake_is_told_with_its_line_and_its_cure() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut seen = 0;
    for entry in fs::read_dir(cases).unwrap() {
        let case = entry.unwrap().path();
        if case.extension().is_some_and(|extension| extension == "toml") {
            let (folder, file) = folder_with(&fs::read_to_string(&case).unwrap());
            let text = said(&config::load(Some(&file), &environment(&[])));
            let text = text.replace(&format!("{}/", folder.path().display()), "");
            let expected = fs::read_to_string(case.with_extension("expected")).unwrap();
            assert_eq!(text, expected, "{}", case.display());
            assert!(!text.contains("ijkl") && !text.contains("horse"), "a secret is shown by {}", case.display());
            seen += 1;
        }
    }
    assert!(seen > 30, "the cases were not found");
}

#[test]
fn variables_are_checked_like_the_file() {
    let account_and = |more: &[(&'static str, &'static str)]| [&ACCOUNT[..], more].concat();
    let no_account = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/no-account.expected"));
    let no_account = no_account.unwrap();
    let cases: [(Vec<(&str, &str)>, &str); 25] = [
        (ACCOUNT.to_vec(), ""),
        (vec![], &no_account),
        (vec![("GMAIL_USER", ""), ("GMAIL_APP_PASSWORD", " ")], &no_account),
        (
            vec![ACCOUNT[0]],
            "GMAIL_USER is set, but neither GMAIL_APP_PASSWORD nor GMAIL_APP_PASSWORD_FILE is; an app password is made \
             at https://myaccount.google.com/apppasswords\n",
        ),
        (vec![ACCOUNT[1]], "GMAIL_USER is not set; it is the Gmail address that the app password belongs to\n"),
        (
            account_and(&[("GMAIL_APP_PASSWORD_FILE", "somewhere")]),
            "GMAIL_APP_PASSWORD and GMAIL_APP_PASSWORD_FILE are both given; keep one of them\n",
        ),
        (
            vec![ACCOUNT[0], ("GMAIL_APP_PASSWORD_FILE", "/nowhere/at/all")],
            "GMAIL_APP_PASSWORD_FILE is \"/nowhere/at/all\"; it cannot be read: No such file or directory (os error 2)\n",
        ),
        (
            vec![ACCOUNT[0], ("GMAIL_APP_PASSWORD", "hunter2")],
            "warning: GMAIL_APP_PASSWORD does not look like an app password, which has 16 letters; the password of the \
             Google account itself will not work; an app password is made at \
             https://myaccount.google.com/apppasswords\n",
        ),
        (account_and(&[("GMAIL_PORT", "x")]), "GMAIL_PORT is \"x\"; expected a port number, 1 to 65535\n"),
        (
            account_and(&[("GMAIL_PORT", "587"), ("GMAIL_TLS", "implicit")]),
            "GMAIL_TLS is \"implicit\"; port 587 begins TLS by command: \"starttls\"\n",
        ),
        (account_and(&[("GMAIL_TLS", "none")]), "GMAIL_TLS is \"none\"; expected \"implicit\" or \"starttls\"\n"),
        (account_and(&[("GMAIL_HOST", "a/b")]), "GMAIL_HOST is \"a/b\"; expected a host name or an IP address\n"),
        (
            account_and(&[("GMAIL_CA_FILE", "/nowhere/at/all")]),
            "GMAIL_CA_FILE is \"/nowhere/at/all\"; it cannot be read: No such file or directory (os error 2)\n",
        ),
        (
            account_and(&[("SMARTHOST_LISTEN", "localhost:25, 25,")]),
            "SMARTHOST_LISTEN holds \"25\"; expected host:port, such as \"localhost:25\", \"[::1]:25\" or \"*:25\", or \
             \"unix:/path\"\n",
        ),
        (
            account_and(&[("SMARTHOST_LISTEN", ",")]),
            "SMARTHOST_LISTEN is \",\"; expected addresses such as \"localhost:25\"\n",
        ),
        (
            account_and(&[("SMARTHOST_LISTEN", "0.0.0.0:25")]),
            "listener \"0.0.0.0:25\" can be reached from other machines, and nothing says who may relay there: set \
             SMARTHOST_ALLOW=192.168.1.0/24 with the networks of your devices, or SMARTHOST_ALLOW=private; or listen \
             on \"localhost:25\", for this machine alone\n",
        ),
        (account_and(&[("SMARTHOST_LISTEN", "0.0.0.0:25"), ("SMARTHOST_ALLOW", "private")]), ""),
        (
            account_and(&[("SMARTHOST_LISTEN", "localhost:25,localhost:26"), ("SMARTHOST_ALLOW", "::/0")]),
            "SMARTHOST_ALLOW holds \"::/0\"; that lets strangers send through your account (an open relay); write the \
             networks of your own devices, such as \"192.168.1.0/24\", or \"private\"\n",
        ),
        (account_and(&[("SMARTHOST_ALLOW", ",")]), "SMARTHOST_ALLOW is empty; leave it out to have its default\n"),
        (
            account_and(&[("SMARTHOST_HOSTNAME", "localhost")]),
            "SMARTHOST_HOSTNAME is \"localhost\"; Gmail may turn away who calls itself localhost; expected a host name \
             such as \"relay.example.net\"\n",
        ),
        (
            account_and(&[("SMARTHOST_DEFAULT_DOMAIN", "192.168.1.5"), ("SMARTHOST_REDIRECT_ALL", "me")]),
            "SMARTHOST_DEFAULT_DOMAIN is \"192.168.1.5\"; expected a domain such as \"example.com\"\n\
             SMARTHOST_REDIRECT_ALL is \"me\"; there is no domain after the @; expected an address such as \
             \"me@gmail.com\"\n",
        ),
        (
            account_and(&[("SMARTHOST_LOG", "xml"), ("SMARTHOST_LOG_LEVEL", "inf")]),
            "SMARTHOST_LOG is \"xml\"; expected \"auto\", \"text\" or \"json\"\n\
             SMARTHOST_LOG_LEVEL is \"inf\"; expected \"error\", \"warn\", \"info\", \"debug\" or \"trace\"; did you \
             mean \"info\"?\n",
        ),
        (
            account_and(&[("SMARTHOST_CONFIG", "/nowhere/at/all")]),
            "/nowhere/at/all cannot be read: No such file or directory (os error 2)\n",
        ),
        (
            account_and(&[("SMARTHOST_LISTN", "localhost:25")]),
            "warning: SMARTHOST_LISTN is no setting; did you mean SMARTHOST_LISTEN?\n",
        ),
        // What a container platform sets for a service with our name.
        (account_and(&[("SMARTHOST_PORT", "tcp://10.0.0.1:25"), ("SMARTHOST_SERVICE_HOST", "10.0.0.1")]), ""),
    ];
    for (variables, expected) in cases {
        let text = said(&config::load(None, &environment(&variables)));
        assert_eq!(text, expected);
        assert!(!text.contains("ijkl") && !text.contains("hunter2"), "a secret is shown");
    }
}

#[test]
fn two_variables_are_enough() {
    let Loaded { config, warnings, source } = config::load(None, &environment(&ACCOUNT)).unwrap();
    assert_eq!((warnings.len(), source), (0, None));
    let [listener] = &config.listeners[..] else { panic!("one listener") };
    assert_eq!((listener.address.as_str(), listener.port), ("localhost:25", 25));
    assert_eq!(listener.host, Host::Name("localhost".to_owned()));
    let admits = |ip: &str| listener.allow.admits(ip.parse::<IpAddr>().unwrap());
    assert!(admits("127.0.0.1") && admits("::1") && !admits("192.168.1.9") && !admits("192.0.2.1"));

    let account = &config.accounts[0];
    assert_eq!((account.name.as_str(), account.user.to_string().as_str()), ("me@gmail.com", "me@gmail.com"));
    assert_eq!(account.app_password.expose_secret(), "abcdefghijklmnop");
    assert_eq!((account.host.as_str(), account.port, account.tls), ("smtp.gmail.com", 465, TlsMode::Implicit));
    assert_eq!((account.connections, account.daily_limit, account.from), (2, 500, FromRule::Rewrite));
    assert!(account.ca_file.is_none() && account.send_as.is_empty());

    let policy = &config.policy;
    assert_eq!((policy.hostname.as_str(), policy.routes.default.as_str()), ("nas.internal", "me@gmail.com"));
    assert_eq!(policy.limits, smarthost::policy::Limits::default());
    assert_eq!(policy.recipients.allow, [Pattern::Everybody]);
    assert!(policy.recipients.alias.is_empty() && policy.recipients.redirect_all.is_none());
    assert_eq!(config.retry.first, Duration::from_secs(30));
    assert_eq!(config.retry.longest, Duration::from_hours(1));
    assert_eq!(config.retry.give_up_after, Duration::from_hours(120));
    assert_eq!((config.log.format, config.log.level), (Format::Auto, tracing::Level::INFO));
    assert_eq!(config.spool, Path::new("/var/lib/smarthost"));
}

#[test]
fn in_a_container_the_gateway_has_to_be_named() {
    let admits = |in_container: bool, allow: &'static str, ip: &str| {
        let variables = [&ACCOUNT[..], &[("SMARTHOST_LISTEN", "*:25"), ("SMARTHOST_ALLOW", allow)]].concat();
        let environment = Environment { in_container, ..environment(&variables) };
        config::load(None, &environment).unwrap().config.listeners[0].allow.admits(ip.parse().unwrap())
    };
    for (in_container, allow, is_admitted) in [
        (false, "private", true),
        (true, "private", false),
        (true, "172.16.0.0/12", false),
        (true, "172.17.0.0/16,loopback", false),
        (true, "private,gateway", true),
        (true, "gateway", true),
        (true, "172.17.0.1", true),
        (false, "gateway", true),
        (false, "192.168.1.0/24", false),
    ] {
        for gateway in ["172.17.0.1", "::ffff:172.17.0.1"] {
            assert_eq!(admits(in_container, allow, gateway), is_admitted, "{allow} {in_container}");
        }
        let neighbour = allow.contains("172.1") && !allow.ends_with(".1") || allow.contains("private");
        assert_eq!(admits(in_container, allow, "172.17.0.2"), neighbour, "{allow} {in_container}");
    }
}

#[test]
fn a_variable_wins_over_the_file() {
    let text = r#"
        hostname = "file.example.net"
        [[listen]]
        address = "localhost:2525"
        [[listen]]
        address = "192.168.1.9:25"
        allow = ["private"]
        [[account]]
        name = "home"
        user = "file@gmail.com"
        app_password_file = "app_password"
        port = 587
        [recipients]
        default_domain = "file.example"
        redirect_all = "file@gmail.com"
        [spool]
        path = "spool"
        [log]
        format = "text"
        level = "warn"
    "#;
    let (folder, file) = folder_with(text);
    let config = config::load(Some(&file), &environment(&[])).unwrap().config;
    assert_eq!(config.accounts[0].user.to_string(), "file@gmail.com");
    assert_eq!(config.accounts[0].tls, TlsMode::Starttls);
    assert_eq!(config.spool, folder.path().join("spool"), "a path in the file starts from its folder");

    let variables = [
        ("SMARTHOST_CONFIG", file.to_str().unwrap()),
        ("SMARTHOST_HOSTNAME", "Env.Example.Net."),
        ("SMARTHOST_LISTEN", "localhost:1, 192.168.1.8:0"),
        ("SMARTHOST_ALLOW", "loopback,192.168.1.7"),
        ("SMARTHOST_SPOOL", "elsewhere"),
        ("SMARTHOST_DEFAULT_DOMAIN", "Env.Example"),
        ("SMARTHOST_REDIRECT_ALL", "env@gmail.com"),
        ("SMARTHOST_LOG", "json"),
        ("SMARTHOST_LOG_LEVEL", "debug"),
        ("GMAIL_USER", "env@gmail.com"),
        ("GMAIL_APP_PASSWORD", "zyxw vuts rqpo nmlk"),
        ("GMAIL_HOST", "127.0.0.1"),
        ("GMAIL_PORT", "2465"),
        ("GMAIL_CA_FILE", file.to_str().unwrap()),
    ];
    let Loaded { config, warnings, source } = config::load(None, &environment(&variables)).unwrap();
    assert_eq!((warnings, source), (vec![], Some(file.clone())));
    assert_eq!(config.policy.hostname, "env.example.net");
    let addresses: Vec<_> = config.listeners.iter().map(|listener| listener.address.as_str()).collect();
    assert_eq!(addresses, ["localhost:1", "192.168.1.8:0"]);
    let admits = |ip: &str| config.listeners[1].allow.admits(ip.parse().unwrap());
    assert!(admits("192.168.1.7") && admits("::ffff:192.168.1.7") && admits("::1") && !admits("192.168.1.8"));
    assert_eq!(config.spool, Path::new("elsewhere"));
    assert_eq!(config.policy.recipients.default_domain.as_deref(), Some("env.example"));
    assert_eq!(config.policy.recipients.redirect_all.unwrap().to_string(), "env@gmail.com");
    assert_eq!((config.log.format, config.log.level), (Format::Json, tracing::Level::DEBUG));
    let account = &config.accounts[0];
    assert_eq!((account.name.as_str(), account.user.to_string().as_str()), ("home", "env@gmail.com"));
    assert_eq!(account.app_password.expose_secret(), "zyxwvutsrqponmlk");
    assert_eq!((account.host.as_str(), account.port, account.tls), ("127.0.0.1", 2465, TlsMode::Implicit));
    assert_eq!(account.ca_file, Some(file));
}

#[test]
fn the_first_usual_file_that_is_there_is_read() {
    let (folder, file) = folder_with("hostname = \"found.example.net\"");
    let mut environment = environment(&ACCOUNT);
    environment.usual_files = vec![folder.path().join("nowhere.toml"), file.clone(), folder.path().to_owned()];
    let loaded = config::load(None, &environment).unwrap();
    assert_eq!((loaded.config.policy.hostname.as_str(), loaded.source), ("found.example.net", Some(file)));
}

#[test]
fn recipients_are_read_as_they_were_meant() {
    let text = r#"
        [[account]]
        user = "me@gmail.com"
        app_password = "abcd efgh ijkl mnop"
        send_as = ["*@Example.com"]
        from = "keep"
        [recipients]
        alias = { Root = "Me@gmail.com", "*@LocalHost" = "me@gmail.com", "Backup@nas.local" = "b@gmail.com" }
        allow = ["*@gmail.com", "Boss@example.com"]
    "#;
    let config = load_text(text, &[]).unwrap().config;
    let keys: Vec<AliasKey> = config.policy.recipients.alias.into_keys().collect();
    let address = "backup@nas.local".parse().unwrap();
    let meant =
        [AliasKey::Address(address), AliasKey::Local("root".to_owned()), AliasKey::Domain("localhost".to_owned())];
    assert_eq!(keys, meant);
    let boss = "Boss@example.com".parse().unwrap();
    assert_eq!(config.policy.recipients.allow, [Pattern::Domain("gmail.com".to_owned()), Pattern::Address(boss)]);
    assert_eq!(config.accounts[0].send_as, [Pattern::Domain("example.com".to_owned())]);
    assert_eq!(config.accounts[0].from, FromRule::Keep);
}

#[test]
fn one_wait_alone_moves_the_default_of_the_other() {
    for (text, first_s, longest_s) in [
        ("first = \"2h\"", 7200, 7200),
        ("longest = \"2s\"", 2, 2),
        ("longest = \"1s\"\nfirst = \"1s\"", 1, 1),
        ("first = \"1m\"", 60, 3600),
    ] {
        let retry = load_text(&format!("[retry]\n{text}"), &ACCOUNT).unwrap().config.retry;
        assert_eq!((retry.first.as_secs(), retry.longest.as_secs()), (first_s, longest_s), "{text}");
    }
}

#[test]
fn the_spool_has_a_place_on_every_machine() {
    let cases: [(bool, Variables, Option<&str>); 7] = [
        (true, &[("STATE_DIRECTORY", "/state/one:/state/two"), ("HOME", "/home/me")], Some("/state/one")),
        (true, &[("HOME", "/home/me")], Some("/var/lib/smarthost")),
        (false, &[("HOME", "/home/me")], Some("/home/me/.local/state/smarthost")),
        (false, &[("HOME", "/home/me"), ("XDG_STATE_HOME", "/home/me/state")], Some("/home/me/state/smarthost")),
        (false, &[("HOME", "/home/me"), ("XDG_STATE_HOME", "state")], Some("/home/me/.local/state/smarthost")),
        (false, &[("SMARTHOST_SPOOL", "/spool")], Some("/spool")),
        (false, &[], None),
    ];
    for (system_spool_usable, variables, expected) in cases {
        let environment = Environment { system_spool_usable, ..environment(&[&ACCOUNT[..], variables].concat()) };
        match (config::load(None, &environment), expected) {
            (Ok(loaded), Some(expected)) => assert_eq!(loaded.config.spool, Path::new(expected)),
            (Err(mistakes), None) => assert_eq!(
                mistakes.to_string(),
                "there is no folder to keep mail in: set SMARTHOST_SPOOL, or write [spool] with path"
            ),
            (outcome, expected) => panic!("expected {expected:?}, not {}", said(&outcome)),
        }
    }
}

#[test]
fn a_systemd_credential_is_found_by_itself_and_comes_last() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("gmail_app_password"), "abcd efgh ijkl mnop\n", 0o440);
    let credentials = ("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap());
    let password = |variables: Variables| {
        let loaded = config::load(None, &environment(variables)).unwrap();
        assert_eq!(loaded.warnings, Vec::<String>::new());
        loaded.config.accounts[0].app_password.expose_secret().to_owned()
    };
    assert_eq!(password(&[ACCOUNT[0], credentials]), "abcdefghijklmnop");
    let other = ("GMAIL_APP_PASSWORD", "zyxw vuts rqpo nmlk");
    assert_eq!(password(&[ACCOUNT[0], credentials, other]), "zyxwvutsrqponmlk");
}

#[test]
fn a_file_with_a_password_that_others_can_read_draws_a_warning() {
    let text = "[[account]]\nuser = \"me@gmail.com\"\napp_password = \"abcd efgh ijkl mnop\"\n";
    let (_folder, file) = folder_with(text);
    for (mode, is_warned) in [(0o600, false), (0o640, false), (0o644, true)] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let shown = file.display();
        let warning = format!(
            "{shown}:3: {shown} holds a password and can be read by others (mode {mode:o}); run: chmod 600 {shown}"
        );
        let expected = if is_warned { vec![warning] } else { vec![] };
        assert_eq!(config::load(Some(&file), &environment(&[])).unwrap().warnings, expected);
    }
    let elsewhere = config::load(Some(&file), &environment(&ACCOUNT)).unwrap();
    assert_eq!(elsewhere.warnings, Vec::<String>::new(), "a password that is not used need not be warned of");
}

#[test]
fn no_secret_can_be_printed() {
    let environment = environment(&ACCOUNT);
    let loaded = config::load(None, &environment).unwrap();
    for shown in [format!("{loaded:?}"), format!("{:?}", loaded.config.accounts[0]), format!("{environment:?}")] {
        assert!(!shown.contains("ijkl"), "{shown}");
    }
}

#[test]
fn what_is_no_text_is_a_mistake_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    fs::write(&file, b"hostname = \"\xff\"").unwrap();
    let mistakes = config::load(Some(&file), &environment(&ACCOUNT)).unwrap_err().to_string();
    assert_eq!(mistakes, format!("{} cannot be read: stream did not contain valid UTF-8", file.display()));
    let endless = config::load(Some(Path::new("/dev/zero")), &environment(&ACCOUNT)).unwrap_err().to_string();
    assert_eq!(endless, "/dev/zero cannot be read: file too large");
    for end in (0..EXAMPLE.len()).step_by(5) {
        let Some(text) = EXAMPLE.get(..end) else { continue };
        fs::write(&file, text).unwrap();
        drop(config::load(Some(&file), &environment(&ACCOUNT)));
    }
}

#[test]
fn the_example_shows_the_defaults() {
    let defaults = config::load(None, &environment(&ACCOUNT)).unwrap().config;
    let as_another_editor_saves_it = format!("\u{feff}{}", EXAMPLE.replace('\n', "\r\n"));
    for text in [EXAMPLE, &as_another_editor_saves_it] {
        let example = load_text(text, &ACCOUNT).unwrap();
        assert_eq!(example.warnings, Vec::<String>::new());
        assert_eq!(format!("{:?}", example.config), format!("{defaults:?}"));
    }
}

/// A setting of the example: its section, and its line without the `#` that may switch it off.
fn settings_of_the_example() -> Vec<(String, &'static str)> {
    let mut section = String::new();
    let mut settings = Vec::new();
    for line in EXAMPLE.lines() {
        let setting = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
        if setting.starts_with('[') {
            setting.clone_into(&mut section);
        } else if setting.contains(" = ") && !setting.starts_with('#') {
            settings.push((section.clone(), setting));
        }
    }
    settings
}

#[test]
fn the_example_shows_every_key_and_every_variable() {
    let shown: Vec<String> = settings_of_the_example()
        .iter()
        .map(|(section, line)| format!("{section} {}", line.split(" = ").next().unwrap()))
        .collect();
    let known: Vec<String> = keys::SECTIONS
        .iter()
        .flat_map(|section| section.keys.iter().map(|key| format!("{} {}", section.header, key.name)))
        .collect();
    assert_eq!(shown, known, "in this order");
    for variable in keys::SECTIONS.iter().flat_map(|section| section.keys).filter_map(|key| key.variable) {
        assert!(EXAMPLE.contains(variable), "{variable} is not explained");
    }
}

#[test]
fn every_setting_of_the_example_works_when_it_is_switched_on() {
    for (section, line) in settings_of_the_example() {
        // Files that are only somewhere else, and what is to come, may be refused; nothing may be misread.
        let outcome = load_text(&format!("{section}\n{line}\n"), &ACCOUNT);
        let text = said(&outcome);
        let elsewhere = ["cannot be read", "[[user]] has no", "[tls] has no", "there is no other account"];
        let is_fine = outcome.is_ok() || elsewhere.iter().any(|words| text.contains(words));
        assert!(is_fine, "{section} {line}: {text}");
    }
}

#[test]
fn a_slip_in_any_key_is_found_and_set_right() {
    for (section, line) in settings_of_the_example() {
        let (key, value) = line.split_once(" = ").unwrap();
        if section == "[tls]" || section == "[[user]]" || key.len() < 4 {
            continue;
        }
        let slip: String = key.chars().take(1).chain(key.chars().skip(2)).collect();
        let text = said(&load_text(&format!("{section}\n{slip} = {value}\n"), &ACCOUNT));
        let meant = format!("did you mean \"{key}\"?");
        assert!(text.contains(&format!("unknown key \"{slip}\"")) && text.contains(&meant), "{text}");
    }
}
