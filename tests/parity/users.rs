//! The USER table: every form of an image's `User`, against the image's own accounts.
//!
//! The table is that of moby/sys, user/user_test.go, with the defaults of a runtime: user 0, group 0, home `/`.

use super::scenario::{Row, row};

/// Prints user, group, the supplementary groups but the primary one, and HOME.
const WHO: &str = "/^Uid/{u=$2} /^Gid/{g=$2} /^Groups/{for(i=2;i<=NF;i++) if($i!=g) s=s\" \"$i} \
                   END{print u, g \":\" s, ENVIRON[\"HOME\"]}";

fn who(user: &'static str, seen: &str) -> Row {
    row(user).cmd(&["/bin/awk", WHO, "/proc/self/status"]).user(user).says(&format!("{seen}\n"))
}

fn nobody(user: &'static str, why: &str) -> Row {
    row(user).cmd(&["/bin/awk", WHO, "/proc/self/status"]).user(user).refused(125, why)
}

/// Rows for the accounts of the table.
pub fn table() -> Vec<Row> {
    let range = "out of range";
    vec![
        who("", "0 0: 1234 /root"),
        who("root", "0 0: 1234 /root"),
        who("0", "0 0: 1234 /root"),
        who("adm", "42 43: 1234 /var/adm"),
        who("42", "42 43: 1234 /var/adm"),
        who("root:adm", "0 43: /root"),
        who("root:43", "0 43: /root"),
        who("adm:grp", "42 1234: /var/adm"),
        who("adm:1234", "42 1234: /var/adm"),
        who("42:1234", "42 1234: /var/adm"),
        who("1337:1234", "1337 1234: /"),
        who("1337", "1337 0: /"),
        who("1337:adm", "1337 43: /"),
        who("111", "111 112: /home/odd"),
        who("111:444", "111 444: /home/odd"),
        who("odd", "111 112: /home/odd"),
        who("odd:odd", "111 444: /home/odd"),
        who("7456", "7456 100: 1000 1234 /home/user7456"),
        who("user7456", "7456 100: 1000 1234 /home/user7456"),
        who("7456:2147483647", "7456 2147483647: /home/user7456"),
        who("2147483647", "2147483647 0: /"),
        who("2147483647:43", "2147483647 43: /"),
        who("user7499", "").refused(125, "no such user"),
        who(":adm", "0 43: /root"),
        who(":large", "0 1000: /root"),
        nobody("notuser", "no such user"),
        nobody("notuser:notgroup", "no such user"),
        nobody("root:notgroup", "no such group"),
        nobody("notuser:adm", "no such user"),
        nobody("8888:notgroup", "no such group"),
        nobody("notuser:8888", "no such user"),
        nobody("-1:0", range),
        nobody("0:-3", range),
        nobody("-5:-2", range),
        nobody("-42", range),
        nobody("-43", range),
        // Names of the table's accounts, and never root.
        nobody("2147483648", range),
        nobody("2147483648:43", range),
        nobody("42:2147483648", range),
        nobody("4294967295", range),
        nobody("4294967296", range),
        nobody("9223372036854775807", range),
        nobody("9223372036854775807:43", range),
        nobody("9223372036854775808", range),
        nobody("0:9223372036854775808", range),
        nobody("7456:9223372036854775807", range),
        nobody("this is just some garbage data", "no such user").runtime(
            0,
            "0 0: /root\n",
            "a broken line of `/etc/passwd`",
        ),
    ]
}

/// Rows for an image without accounts.
pub fn without_accounts() -> Vec<Row> {
    vec![
        who("", "0 0: /"),
        who("0", "0 0: /"),
        who("1000", "1000 0: /"),
        who("1000:100", "1000 100: /"),
        who("12345:54321", "12345 54321: /"),
        nobody("root", "no such user"),
        nobody("www", "no such user"),
        nobody("0:www", "no such group"),
        nobody("4294967296", "out of range"),
    ]
}
