//! What must not be seen, in all the disguises it comes in.

use proptest::prelude::*;

use super::*;

fn masked(head: &str, start_line: bool) -> String {
    let redact = Redact::new(&["X-Mine".to_owned()]);
    let mut bytes = head.as_bytes().to_vec();
    let mut end = 0;
    for span in redact.spans(head.as_bytes(), start_line) {
        assert!(span.start >= end && span.start < span.end, "{span:?}");
        end = span.end;
        bytes[span].fill(b'*');
    }
    String::from_utf8(bytes).unwrap()
}

fn field(line: &str) -> String {
    masked(line, false)
}

fn target(target: &str) -> String {
    let line = masked(&format!("GET {target} HTTP/1.1\r\n\r\n"), true);
    line["GET ".len()..line.len() - " HTTP/1.1\r\n\r\n".len()].to_owned()
}

fn command(arguments: &[&str]) -> Vec<String> {
    let mut list: Vec<Vec<u8>> = arguments.iter().map(|a| a.as_bytes().to_vec()).collect();
    Redact::new(&[]).mask_cmdline(&mut list);
    list.into_iter()
        .map(|a| String::from_utf8(a).unwrap())
        .collect()
}

#[test]
fn secret_fields_are_masked_and_the_scheme_stays() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dTpw\r\ncookie:a=b; c=d \r\n\
                X-API-Key: 12\r\nAccept: */*\r\n\r\n";
    assert_eq!(
        masked(head, true),
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic ****\r\ncookie:******** \r\n\
         X-API-Key: **\r\nAccept: */*\r\n\r\n"
    );
    assert_eq!(
        field("Proxy-Authorization: bearer a b\n"),
        "Proxy-Authorization: bearer ***\n"
    );
    assert_eq!(
        field("Set-Cookie: sid=1; Path=/\r\n"),
        "Set-Cookie: *************\r\n"
    );
    for name in [
        "X-Auth-Token",
        "X-CSRF-Token",
        "X-Amz-Security-Token",
        "X-Goog-Api-Key",
        "x_api_key",
        "PRIVATE-TOKEN",
        "X-Vault-Token",
        "X-Auth-Key",
        "Ocp-Apim-Subscription-Key",
        "X-Mine",
    ] {
        assert_eq!(
            field(&format!("{name}: abc\r\n")),
            format!("{name}: ***\r\n")
        );
    }
}

#[test]
fn a_word_that_is_no_scheme_may_be_the_secret() {
    assert_eq!(
        field("Authorization: s3cr3t x\r\n"),
        "Authorization: ********\r\n"
    );
    assert_eq!(
        field("Authorization: Basic\r\n"),
        "Authorization: *****\r\n"
    );
}

#[test]
fn folded_values_are_masked_to_their_ends() {
    assert_eq!(
        field("Authorization: Basic\r\n dTpw\r\n\tmore\r\nA: b\r\n"),
        "Authorization: *****\r\n ****\r\n\t****\r\nA: b\r\n"
    );
    assert_eq!(field("Cookie: a\n b\nA: b\n"), "Cookie: *\n *\nA: b\n");
    assert_eq!(field("Cookie: a\rb\nA: b\n"), "Cookie: *\r*\nA: b\n");
    assert_eq!(field("A: b\n Cookie: a\n x\n"), "A: b\n Cookie: *\n *\n");
    assert_eq!(
        field("Referer: http://a/?token=x\n y\nA: b\n"),
        "Referer: http://a/?token=*\n *\nA: b\n"
    );
}

#[test]
fn malformed_heads_hide_nothing() {
    assert_eq!(
        field("Authorization : Basic x\n"),
        "Authorization : Basic *\n"
    );
    assert_eq!(field("Cookie: a"), "Cookie: *");
    assert_eq!(
        masked("\r\n\r\nGET /?key=a HTTP/1.1\r\n", true),
        "\r\n\r\nGET /?key=* HTTP/1.1\r\n"
    );
    assert_eq!(masked("GET /?key=a b c", true), "GET /?key=*****");
    assert_eq!(
        masked("HTTP/1.1 200 a?key=b\r\n", true),
        "HTTP/1.1 200 a?key=b\r\n"
    );
}

#[test]
fn framing_is_never_masked() {
    let redact = Redact::new(&["Content-Length".to_owned(), String::new()]);
    assert!(redact.spans(b"Content-Length: 5\r\n", false).is_empty());
    assert!(
        redact
            .spans(b"Sec-WebSocket-Key: abc\r\nA: b\r\n", false)
            .is_empty()
    );
}

#[test]
fn secret_parameters_are_masked() {
    assert_eq!(target("/a?x=1&token=abc&y=2"), "/a?x=1&token=***&y=2");
    assert_eq!(target("/a?API_KEY=ab;c#d"), "/a?API_KEY=****#d");
    assert_eq!(target("/a;jsessionid=ab?x=1"), "/a;jsessionid=******");
    assert_eq!(target("/a?access%5Ftoken=b"), "/a?access%5Ftoken=*");
    assert_eq!(target("/a?user[password]=b"), "/a?user[password]=*");
    assert_eq!(target("/a?next=/b?sig=c"), "/a?next=/b?sig=*");
    assert_eq!(target("/a?token=&code=1"), "/a?token=&code=*");
    assert_eq!(target("/a?token=a=b"), "/a?token=***");
    assert_eq!(
        target("/a?monkey=1&tokens=2&keyboard=3"),
        "/a?monkey=1&tokens=2&keyboard=3"
    );
    assert_eq!(target("/a?x-mine=2"), "/a?x-mine=*");
    assert_eq!(
        field("Location: https://a/cb?code=12&state=3\r\n"),
        "Location: https://a/cb?code=**&state=3\r\n"
    );
    assert_eq!(
        field("Link: <a?sig=1>; rel=x\r\n"),
        "Link: <a?sig=*>; rel=x\r\n"
    );
}

#[test]
fn user_information_is_masked() {
    assert_eq!(target("http://me:pw@host/a@b"), "http://*****@host/a@b");
    assert_eq!(target("me:pw@host:443"), "*****@host:443");
    assert_eq!(target("/a@b//c"), "/a@b//c");
    assert_eq!(
        field("Referer: https://me:p@w@host/\r\n"),
        "Referer: https://******@host/\r\n"
    );
}

#[test]
fn command_lines_of_curl_keep_no_secret() {
    assert_eq!(
        command(&[
            "curl",
            "-u",
            "me:pw",
            "--user",
            "me:pw",
            "-ume:pw",
            "--user=me:pw",
            "-sSu",
            "me:pw"
        ]),
        [
            "curl",
            "-u",
            "*****",
            "--user",
            "*****",
            "-u*****",
            "--user=*****",
            "-sSu",
            "*****"
        ]
    );
    assert_eq!(
        command(&[
            "/usr/bin/curl",
            "-H",
            "Authorization: Bearer abc",
            "--header",
            "X-Foo: bar",
            "-HCookie: a=b",
            "--header=A: b",
            "-sSfH",
            "X: y",
            "-H",
            "@file",
        ]),
        [
            "/usr/bin/curl",
            "-H",
            "Authorization: Bearer ***",
            "--header",
            "X-Foo: ***",
            "-HCookie: ***",
            "--header=A: *",
            "-sSfH",
            "X: *",
            "-H",
            "*****",
        ]
    );
    assert_eq!(
        command(&[
            "curl",
            "--oauth2-bearer",
            "abc",
            "--proxy-user",
            "a:b",
            "-U",
            "a:b",
            "-b",
            "a=b",
            "-d",
            "password=x y&z",
            "https://me:pw@host/?token=abc&x=1",
            "-o",
            "out",
        ]),
        [
            "curl",
            "--oauth2-bearer",
            "***",
            "--proxy-user",
            "***",
            "-U",
            "***",
            "-b",
            "***",
            "-d",
            "password=*****",
            "https://*****@host/?token=***&x=1",
            "-o",
            "out",
        ]
    );
}

#[test]
fn command_lines_of_others_keep_no_secret() {
    assert_eq!(
        command(&[
            "app",
            "--password",
            "x",
            "--db-password=y",
            "-token",
            "z",
            "-user",
            "a:b",
            "--token",
            "--password",
            "x"
        ]),
        [
            "app",
            "--password",
            "*",
            "--db-password=*",
            "-token",
            "*",
            "-u***",
            "***",
            "--token",
            "**********",
            "*"
        ]
    );
    assert_eq!(
        command(&[
            "env",
            "AWS_SECRET_ACCESS_KEY=ab",
            "-eAPI_TOKEN=ab",
            "--env=DB_PASSWORD=ab",
            "HOME=/root"
        ]),
        [
            "env",
            "AWS_SECRET_ACCESS_KEY=**",
            "-eAPI_TOKEN=**",
            "--env=DB_PASSWORD=**",
            "HOME=/root"
        ]
    );
    assert_eq!(
        command(&["app", "-url=https://me:pw@host/", "postgres://me:pw@db/x"]),
        ["app", "-url=https://*****@host/", "postgres://*****@db/x"]
    );
    assert_eq!(
        command(&["java", "-Ddb.password=x", "-jar", "a.jar"])[1],
        "-Ddb.password=*"
    );
}

#[test]
fn a_command_within_an_argument_is_looked_into() {
    assert_eq!(
        command(&[
            "sh",
            "-c",
            "curl -sSu me:pw -H 'Authorization: Basic ab' 'http://h/?key=a'"
        ])[2],
        "curl -sSu ***** -H 'Authorization: Basic **' 'http://h/?key=*'"
    );
}

#[test]
fn ordinary_command_lines_stay_as_they_are() {
    for list in [
        &["python3", "-u", "server.py", "--port", "80"][..],
        &["nginx: worker process"],
        &["node", "--max-old-space-size=4096", "app.js"],
        &["gunicorn", "-b", "0.0.0.0:8000", "app:app"],
        &[
            "curl",
            "-sS",
            "-o",
            "/dev/null",
            "https://example.com/a?b=c",
        ],
    ] {
        assert_eq!(command(list), list);
    }
    assert_eq!(command(&["app", "-urise"]), ["app", "-u****"]);
    assert_eq!(command(&["app", "-uri", "/x"]), ["app", "-uri", "/x"]);
    assert_eq!(
        command(&["python3", "-u", "get.py", "-u", "me:pw"]),
        ["python3", "-u", "get.py", "-u", "*****"]
    );
}

proptest! {
    #[test]
    fn no_secret_is_left_in_a_command_line(secret in "[a-zA-Z0-9:@/=&?;,. -]{0,12}[Q-Z]{6}") {
        for template in [
            &["curl", "-u", "{}", "http://h/"][..],
            &["curl", "-sSu{}"],
            &["curl", "-sSu", "{}"],
            &["app", "-u{}"],
            &["app", "--user={}", "-x"],
            &["app", "--user", "{}"],
            &["app", "-H", "Authorization: Bearer {}"],
            &["app", "-HX-Thing: {}"],
            &["app", "--header=Cookie: {}"],
            &["app", "--password", "{}"],
            &["app", "--db-password={}"],
            &["app", "--oauth2-bearer", "{}"],
            &["env", "API_TOKEN={}"],
        ] {
            let filled: Vec<String> = template.iter().map(|a| a.replace("{}", &secret)).collect();
            let filled: Vec<&str> = filled.iter().map(String::as_str).collect();
            let shown = command(&filled).join(" ");
            prop_assert!(!shown.contains(&secret[secret.len() - 6..]), "{}", shown);
        }
    }

    #[test]
    fn no_secret_is_left_in_a_head(
        text in "[a-zA-Z0-9:@/=?;,. -]{0,12}[Q-Z]{6}", name in "(authorization|Authorization|COOKIE|Cookie|X-Api-Key)",
        fold in "(|\r\n |\n\t|\r\n \r\n )", scheme in "(|Basic |bearer |weird )",
    ) {
        let head = format!(
            "GET http://u:{0}@h/?x=1&api_key={0} HTTP/1.1\r\n{name}: {scheme}{fold}{0}\r\n\
             Referer: https://h/?token={0}\r\n\r\n",
            text.replace([' ', '@', '/', '?'], "%"),
        );
        let shown = masked(&head, true);
        prop_assert!(!shown.contains(&text[text.len() - 6..]), "{}", shown);
        prop_assert!(shown.contains("http://") && shown.contains("@h/?x=1&api_key="));
    }

    #[test]
    fn ranges_are_in_order_whatever_the_bytes(bytes: Vec<u8>, start_line: bool) {
        let mut end = 0;
        for span in Redact::default().spans(&bytes, start_line) {
            prop_assert!(span.start >= end && span.start < span.end && span.end <= bytes.len());
            end = span.end;
        }
    }

    #[test]
    fn ranges_are_in_order_in_what_looks_like_a_head(
        head in "([?&=:@/ \t\r\n;]|token|Cookie|Authorization|GET|//|a){0,40}", start_line: bool,
    ) {
        let mut end = 0;
        for span in Redact::default().spans(head.as_bytes(), start_line) {
            prop_assert!(span.start >= end && span.start < span.end && span.end <= head.len());
            end = span.end;
        }
    }

    #[test]
    fn lengths_stay_whatever_the_arguments(
        list in proptest::collection::vec("([-=:@/ \"'\n]|-u|-H|token|curl|a){0,12}", 0..6),
    ) {
        let mut masked: Vec<Vec<u8>> = list.iter().map(|a| a.as_bytes().to_vec()).collect();
        Redact::default().mask_cmdline(&mut masked);
        for (before, after) in list.iter().zip(&masked) {
            prop_assert_eq!(before.len(), after.len());
        }
    }
}
