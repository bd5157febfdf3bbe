use super::*;

fn hint(lines: &[&[u8]]) -> (Option<u64>, Option<u32>) {
    let mut headers = HeaderMap::new();
    for line in lines {
        let value = HeaderValue::from_bytes(line).expect("a field value");
        headers.append(KEEP_ALIVE, value);
    }
    let hint = KeepAliveHint::parse(&headers);
    (hint.timeout().map(|timeout| timeout.as_secs()), hint.max())
}

#[test]
fn case_order_space_quotes_and_lines_do_not_matter() {
    for lines in [
        &[&b"timeout=5, max=7"[..]][..],
        &[b"MAX=7,TimeOut=5"],
        &[b"\t timeout\t= 5\t,max =\t7 "],
        &[b"timeout=\"5\", max=\" 7 \""],
        &[b"timeout=5", b"max=7"],
        &[b"a=\"x, timeout=1, \\\", max=1\", timeout=5s, max=7"],
        &[b",, timeout=5.999S,, max=7,"],
        &[b"x\xff=1, timeout=5, max=7"],
    ] {
        assert_eq!(hint(lines), (Some(5), Some(7)), "{lines:?}");
    }
}

#[test]
fn of_several_the_smallest_counts() {
    assert_eq!(
        hint(&[b"timeout=9, max=3", b"timeout=4, max=8"]),
        (Some(4), Some(3))
    );
    assert_eq!(hint(&[b"timeout=9, timeout=x"]), (Some(9), None));
}

#[test]
fn garbage_is_no_hint() {
    for line in [
        &b""[..],
        b"300",
        b"timeout",
        b"timeout=",
        b"timeout=s",
        b"timeout=-1",
        b"timeout=+1",
        b"timeout=0x5",
        b"timeout=5_",
        b"timeout=5ss",
        b"timeout=5 5",
        b"timeout=.5",
        b"timeout=5.",
        b"timeout=5.x",
        b"timeout==5",
        b"timeout=\"5",
        b"timeout=\"",
        b"timeout=\"\\5\"",
        b"timeout:5",
        b"xtimeout=5",
        b"timeoutx=5",
        b"timeout=18446744073709551616",
        b"max=4294967296",
        b"max=5s",
        b"max=1.5",
        b"\"timeout=5",
        b"\xff\xfe",
    ] {
        assert_eq!(
            hint(&[line]),
            (None, None),
            "{:?}",
            line.escape_ascii().to_string()
        );
    }
}

#[test]
fn the_largest_values_are_neither_wrapped_nor_cut() {
    let largest = KeepAliveHint::new(Some(Duration::from_secs(u64::MAX)), Some(u32::MAX));
    let value = largest.to_value().expect("a hint");
    assert_eq!(value, "timeout=18446744073709551615, max=4294967295");
    assert_eq!(hint(&[value.as_bytes()]), (Some(u64::MAX), Some(u32::MAX)));
    assert_eq!(KeepAliveHint::NONE.to_value(), None);
}
