//! Every form, every error, and that none shows a password.

use super::*;

fn parse(text: &str) -> StreamUrl {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> UrlError {
    text.parse::<StreamUrl>().expect_err(text)
}

fn endpoints(text: &str) -> Vec<String> {
    parse(text).endpoints().iter().map(Endpoint::to_string).collect()
}

fn streams(text: &str) -> Vec<Vec<u8>> {
    parse(text).streams().iter().map(|stream| stream.as_bytes().to_vec()).collect()
}

#[test]
fn hosts_and_ports() {
    assert_eq!(endpoints("redis://localhost/s"), ["localhost:6379"]);
    assert_eq!(endpoints("REDIS://10.0.0.1:7000/s"), ["10.0.0.1:7000"]);
    assert_eq!(
        endpoints("redis://a:1,b,[::1]:2,[fe80::1]/s"),
        ["a:1", "b:6379", "[::1]:2", "[fe80::1]:6379"]
    );
    assert_eq!(&*parse("redis://[::1]/s").endpoints()[0].host, "::1");
    assert!(!parse("redis://a/s").endpoints()[0].tls);
}

#[test]
fn streams_are_any_bytes() {
    assert_eq!(streams("redis://h/a,b"), [b"a", b"b"]);
    assert_eq!(streams("redis://h/a%2Cb"), [b"a,b"]);
    assert_eq!(streams("redis://h/%ff%00"), [[0xff, 0]]);
    assert_eq!(streams("redis://h/app/../orders:1@eu"), [b"app/../orders:1@eu"]);
    assert_eq!(streams("redis://h/a+b%20c%3F%23"), [b"a+b c?#"]);
}

#[test]
fn login_and_database() {
    let url = parse("redis://us%40er:p%3Aw%2f%40@h/s?db=3");
    let login = url.login().unwrap();
    assert_eq!(login.user.as_deref(), Some("us@er"));
    assert_eq!(login.password.reveal(), "p:w/@");
    assert_eq!(url.database(), Some(3));
    assert_eq!(parse("redis://:pw@h/s").login().unwrap().user, None);
    // The last one ends the login.
    assert_eq!(parse("redis://:p@w@h/s").login().unwrap().password.reveal(), "p@w");
    let none = parse("redis://@h/s");
    assert_eq!((none.login(), none.database()), (None, None));

    let options = ConsumerOptions::default().login(None, "theirs").database(9);
    let applied = url.apply(options.clone());
    assert_eq!((applied.login.as_ref(), applied.database), (Some(login), 3));
    assert_eq!(none.apply(options.clone()), options);
}

#[test]
fn what_is_wrong_and_how_to_mend_it() {
    let host = |text: &str| UrlError::Host(text.into());
    for (text, expected, says) in [
        ("localhost/s", UrlError::NoScheme, "redis://host/stream"),
        ("", UrlError::NoScheme, "redis://"),
        ("a b://h/s", UrlError::NoScheme, "redis://"),
        ("http://h/s", UrlError::UnknownScheme("http".into()), "use redis://"),
        ("rediss://h/s", UrlError::NotSupportedYet("rediss".into()), "not supported yet"),
        ("kafkas://h/s", UrlError::NotSupportedYet("kafkas".into()), "not supported yet"),
        ("stdio:///s", UrlError::NotSupportedYet("stdio".into()), "not supported yet"),
        ("redis:///s", UrlError::NoHost(Backend::Redis), "names no host"),
        ("redis://:7000/s", UrlError::NoHost(Backend::Redis), "names no host"),
        ("redis://a,,b/s", UrlError::NoHost(Backend::Redis), "empty one"),
        ("redis://h:x/s", host("h"), "'h'"),
        ("redis://h:70000/s", host("h"), "65535"),
        ("redis://h:0/s", host("h"), "1 to 65535"),
        ("redis://::1/s", UrlError::NoHost(Backend::Redis), "no host"),
        ("redis://fe80::1/s", host("fe80"), "in brackets"),
        ("redis://[::1/s", host("[::1"), "in brackets"),
        ("redis://h%ff/s", host("h%ff"), "no host"),
        ("redis://h%0a/s", host("h%0a"), "no host"),
        ("redis://user@h/s", UrlError::NoPassword, "user:password@host"),
        ("redis://user:@h/s", UrlError::NoPassword, "user:password@host"),
        ("redis://:%ff@h/s", UrlError::LoginText, "UTF-8"),
        ("redis://:%f@h/s", UrlError::Percent("user or password"), "%25"),
        ("redis://h", UrlError::NoStream(Backend::Redis), "no stream"),
        ("redis://h/", UrlError::NoStream(Backend::Redis), "no stream"),
        ("redis://h/a,,b", UrlError::NoStream(Backend::Redis), "empty one"),
        ("redis://h?db=1", UrlError::NoStream(Backend::Redis), "no stream"),
        ("redis://h/100%", UrlError::Percent("stream's name"), "%25"),
        ("redis://h/a#b", UrlError::Fragment, "%23"),
        ("redis://h/s?database=1", UrlError::Parameter("database".into()), "db=N"),
        ("redis://h/s?db=x", UrlError::Database("x".into()), "a number"),
        ("redis://h/s?db=-1", UrlError::Database("-1".into()), "a number"),
    ] {
        let error = error(text);
        assert_eq!(error, expected, "{text}");
        let line = error.to_string();
        assert!(line.contains(says) && !line.contains('\n'), "{text}: {line}");
    }
}

#[test]
fn topics_on_brokers() {
    let url = parse("kafka://a,b:9093,[::1]/orders,re.turns_1-x");
    assert_eq!(url.backend(), Backend::Kafka);
    let ports: Vec<_> = url.endpoints().iter().map(Endpoint::to_string).collect();
    assert_eq!(ports, ["a:9092", "b:9093", "[::1]:9092"]);
    assert!(url.endpoints().iter().all(|endpoint| !endpoint.tls));
    assert_eq!(streams("kafka://h/orders,re.turns_1-x"), [&b"orders"[..], b"re.turns_1-x"]);
    assert_eq!(streams("KAFKA://h/%6frders"), [b"orders"]);
    assert_eq!((url.login(), url.database()), (None, None));
    assert_eq!(url.to_string(), "kafka://a:9092,b:9093,[::1]:9092/orders,re.turns_1-x");
    assert_eq!(parse(&url.to_string()), url);
    let longest = "x".repeat(249);
    assert_eq!(streams(&format!("kafka://h/{longest}")), [longest.as_bytes()]);

    let url = parse("kafka://us%40er:p%3Aw%2f@h/orders");
    let login = url.login().unwrap();
    assert_eq!((login.user.as_deref(), login.password.reveal()), (Some("us@er"), "p:w/"));
    assert_eq!(url.apply(ConsumerOptions::default()).login.as_ref(), Some(login));
    assert_eq!(format!("{url:?}"), "StreamUrl(kafka://us@er:…@h:9092/orders)");
}

#[test]
fn what_kafka_does_not_have() {
    let topic = |text: &str| UrlError::Topic(text.into());
    let long = "x".repeat(250);
    for (text, expected, says) in [
        ("kafka://h", UrlError::NoStream(Backend::Kafka), "kafka://host/"),
        ("kafka://h/a,", UrlError::NoStream(Backend::Kafka), "empty one"),
        ("kafka:///t", UrlError::NoHost(Backend::Kafka), "kafka://host/"),
        ("kafka://h/a/b", topic("a/b"), "249"),
        ("kafka://h/a%2Cb", topic("a%2Cb"), "no name of a topic"),
        ("kafka://h/.", topic("."), "alone"),
        ("kafka://h/..", topic(".."), "alone"),
        ("kafka://h/caf\u{e9}", topic("caf\u{e9}"), "a-z"),
        (&format!("kafka://h/{long}"), topic(&long), "249"),
        ("kafka://h/t?db=1", UrlError::Parameter("db".into()), "Redis alone"),
        ("kafka://h/t?acks=1", UrlError::Parameter("acks".into()), "unknown"),
        ("kafka://:secret@h/t", UrlError::NoUser, "user:password@host"),
        ("kafka://user@h/t", UrlError::NoPassword, "user:password@host"),
        ("kafka://user:12/3@h/t", UrlError::Unescaped, "%2F"),
        ("kafka://h:0/t", UrlError::Host("h".into()), "65535"),
    ] {
        let error = error(text);
        assert_eq!(error, expected, "{text}");
        let line = error.to_string();
        assert!(line.contains(says) && !line.contains('\n'), "{text}: {line}");
        assert!(!line.contains("secret"), "{text}: {line}");
    }
}

#[test]
fn topics_by_pattern() {
    let url = parse(r"kafka://h/^orders-.*,returns,^[a-z]{2%2C3}\.(eu|us)$,^a%3F%23%25%5e");
    let expected: [&[u8]; 4] = [b"^orders-.*", b"returns", br"^[a-z]{2,3}\.(eu|us)$", b"^a?#%^"];
    assert_eq!(url.streams().iter().map(StreamKey::as_bytes).collect::<Vec<_>>(), expected);
    assert_eq!(streams("kafka://h/%5Eorders"), [b"^orders"]);
    // Of Redis it is a name like any other.
    assert_eq!(streams("redis://h/^orders-("), [b"^orders-("]);
    for (text, says) in [
        ("kafka://h/^orders-(", "no regular expression"),
        ("kafka://h/^a{2,3}", "%2C"),
        ("kafka://h/orders,^[", "^["),
        ("kafka://h/^%ff", "UTF-8"),
        (&format!("kafka://h/^{}", "x".repeat(5_000)), "4096"),
    ] {
        let error = error(text);
        assert!(matches!(error, UrlError::Pattern(_)), "{error:?}");
        let line = error.to_string();
        assert!(line.contains(says) && line.len() < 400 && !line.contains('\n'), "{text}: {line}");
    }
    // A question mark that would be lost.
    for text in ["kafka://h/^orders-x?", "kafka://h/a,^b?", "kafka://h/^orders-x?y"] {
        assert!(error(text).to_string().contains("%3F"), "{text}");
    }
    // Perhaps the rest of a password.
    assert_eq!(error("kafka://user:12/^sesame@h/t"), UrlError::Unescaped);
}

#[test]
fn a_password_is_never_shown() {
    let url = parse("redis://user:sesame@h/s?db=1");
    assert_eq!(url.to_string(), "redis://user:…@h:6379/s?db=1");
    assert_eq!(format!("{url:?}"), "StreamUrl(redis://user:…@h:6379/s?db=1)");
    for text in [
        "redis://user:sesame/sesame@h/s",
        "redis://user:sesame?sesame@h/s",
        "redis://user:sesame#sesame@h/s",
        "redis://:sesame/x@h/s",
        "redis://user:sesame%@h/s",
        "redis://user:sesame@h:x/s",
        "redis://user:sesame@/s",
        "redis://user:sesame@h/",
        "redis://user:sesame@h/s?x=sesame",
        "redis://user:sesame@h/s#sesame",
        "user:sesame@h/s",
        "user:sesame@h://s",
    ] {
        let error = error(text);
        assert!(!error.to_string().contains("sesame"), "{text}: {error}");
        assert!(!format!("{error:?}").contains("sesame"), "{text}: {error:?}");
    }
    // The one that tells what to do.
    assert_eq!(error("redis://user:sesame/x@h/s"), UrlError::Unescaped);
}
