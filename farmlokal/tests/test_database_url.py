"""DATABASE_URL in the forms of hosting providers: accepted with the TLS that it asks for, or refused with a reason."""

from __future__ import annotations

import re
import ssl
from typing import Any

import pytest

from farmlokal.mysql.url import parse, parse_several

HOST = "mysql://user:pass@db.example:3306/farm"
FILE = __file__  # any file that can be read
SYSTEM = ssl.get_default_verify_paths()
SYSTEM_CA = {name: path for name, path in (("ca", SYSTEM.cafile), ("capath", SYSTEM.capath)) if path}

DISABLED: dict[str, Any] = {"ssl_mode": "DISABLED"}
REQUIRED = {"ssl_mode": "REQUIRED"}
VERIFIED = {"ssl_mode": "VERIFY_IDENTITY", "ssl": SYSTEM_CA}
OWN_CA = {"ssl_mode": "VERIFY_IDENTITY", "ssl": {"ca": FILE}}

ACCEPTED = {
    # PlanetScale
    'mysql://u:pscale_pw_x@aws.connect.psdb.cloud/farm?ssl={"rejectUnauthorized":true}': VERIFIED,
    "mysql://u:pscale_pw_x@aws.connect.psdb.cloud/farm?ssl=%7B%22rejectUnauthorized%22%3Atrue%7D": VERIFIED,
    "mysql://u:pscale_pw_x@aws.connect.psdb.cloud/farm?sslaccept=strict": VERIFIED,
    "mysql2://u:pscale_pw_x@aws.connect.psdb.cloud/farm?ssl=true": VERIFIED,
    # Aiven, DigitalOcean
    "mysql://avnadmin:AVNS_x@m.a.aivencloud.com:25227/defaultdb?ssl-mode=REQUIRED": REQUIRED,
    "mysql://doadmin:AVNS_x@m.b.db.ondigitalocean.com:25060/defaultdb?ssl-mode=REQUIRED": REQUIRED,
    f"mysql://doadmin:x@m.b.db.ondigitalocean.com:25060/defaultdb?ssl-mode=REQUIRED&ssl_ca={FILE}": (
        REQUIRED | {"ssl": {"ca": FILE}}
    ),
    # Railway
    "mysql://root:x@mysql.railway.internal:3306/railway": DISABLED,
    "mysql://root:x@roundhouse.proxy.rlwy.net:41234/railway": DISABLED,
    # TiDB Cloud
    "mysql://x.root:y@gateway01.eu.prod.aws.tidbcloud.com:4000/test?sslaccept=strict": VERIFIED,
    f"mysql://x.root:y@gateway01.tidbcloud.com:4000/test?ssl_ca={FILE}&ssl_verify_cert=true&ssl_verify_identity=true": (
        OWN_CA
    ),
    "mysql://x.root:y@gateway01.tidbcloud.com:4000/test?ssl_verify_cert=true&ssl_verify_identity=true": VERIFIED,
    # ClearDB, and options that change nothing
    "mysql://b1:x@us-cdbr-east-06.cleardb.net/heroku_1?reconnect=true": DISABLED,
    f"{HOST}?charset=utf8mb4": DISABLED,
    "mariadb://user:pass@db.example:3306/farm": DISABLED,
    # our own spelling
    HOST: DISABLED,
    f"{HOST}?ssl_mode=DISABLED": DISABLED,
    f"{HOST}?ssl-mode=required": REQUIRED,
    f"{HOST}?ssl_mode=VERIFY_CA": VERIFIED | {"ssl_mode": "VERIFY_CA"},
    f"{HOST}?ssl_mode=verify_identity": VERIFIED,
    f"{HOST}?ssl-ca={FILE}": OWN_CA,
    f"{HOST}?ssl_cert={FILE}&ssl_key={FILE}": (
        {"ssl_mode": "VERIFY_IDENTITY", "ssl": {"cert": FILE, "key": FILE} | SYSTEM_CA}
    ),
    f"{HOST}?sslaccept=accept_invalid_certs": REQUIRED,
    f'{HOST}?ssl={{"rejectUnauthorized": false}}': REQUIRED,
    f'{HOST}?ssl={{"minVersion":"TLSv1.2","rejectUnauthorized":true}}': VERIFIED,
    # The strongest of several wins.
    f"{HOST}?ssl_mode=REQUIRED&sslaccept=strict": VERIFIED,
    f"{HOST}?ssl_mode=DISABLED&ssl_verify_cert=true": VERIFIED,
}
REFUSED = {
    "postgres://user:pass@db.example/farm": "must look like mysql://user:password@host:3306/name",
    "mysql://user:pass@db.example": "must look like",
    "mysql://user:pass@db.example/": "must look like",
    "mysql://user:pass@/farm": "must look like",
    "mysql://:pass@db.example/farm": "must look like",
    "mysql://user:pass@db.example:port/farm": "must look like",
    "mysql://user:pa/ss@db.example/farm": "percent-encoded",
    "mysql://user:pa#ss@db.example/farm": "percent-encoded",
    "mysql://user:pass@db.example/farm\nx": "must look like",
    f"{HOST}?sslmode=require": "unknown sslmode option; write ssl_mode=VERIFY_IDENTITY",
    f"{HOST}?ssl=false": "unknown ssl option",
    f"{HOST}?sslaccept=perhaps": "unknown sslaccept option",
    f"{HOST}?ssl_verify_cert=false": "unknown ssl_verify_cert option",
    f"{HOST}?charset=latin1": "unknown charset option",
    f"{HOST}?connection_limit=5": "unknown connection_limit option",
    f"{HOST}?ssl_cipher=x": "unknown ssl_cipher option",
    f"{HOST}?ssl_mode=PREFERRED": "unknown ssl_mode PREFERRED; known: DISABLED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY",
    f"{HOST}?ssl_ca=": "empty or given twice",
    f"{HOST}?ssl_ca={FILE}&ssl-ca={FILE}": "empty or given twice",
    f"{HOST}?ssl_ca=/no/such/ca.pem": "names the file /no/such/ca.pem, which cannot be read",
    f"{HOST}?ssl_mode=DISABLED&ssl_ca={FILE}": "ssl_mode=DISABLED beside TLS files",
}


@pytest.mark.parametrize("url", ACCEPTED)
def test_url_is_accepted_with_its_tls_options(url: str) -> None:
    assert parse(url)["OPTIONS"] == ACCEPTED[url]


@pytest.mark.parametrize("url", REFUSED)
def test_url_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(ValueError, match=re.escape(REFUSED[url])) as refused:
        parse(url)
    assert "\n" not in str(refused.value)
    assert "pass@" not in str(refused.value)


def test_url_becomes_djangos_settings() -> None:
    parsed = parse("mysql://us%40er:p%2Fw@ssl-db.example:3307/farmlokal")
    names = ("USER", "PASSWORD", "HOST", "PORT", "NAME")
    assert [parsed[name] for name in names] == ["us@er", "p/w", "ssl-db.example", 3307, "farmlokal"]
    assert parse("mysql://u:p@%2Fcloudsql%2Fp%3Ar%3AI/farm")["HOST"] == "/cloudsql/p:r:I"


@pytest.mark.parametrize("separator", [",", " ", ", ", "\n"])
def test_several_urls_have_their_own_options(separator: str) -> None:
    urls = ['mysql://u:a,b@one.example/farm?ssl={"ca":"x","rejectUnauthorized":true}', "mysql2://u:p@two.example/farm"]
    one, two = parse_several(separator.join(urls) + separator)
    assert (one["HOST"], one["PASSWORD"], one["OPTIONS"]) == ("one.example", "a,b", VERIFIED)
    assert (two["HOST"], two["OPTIONS"]) == ("two.example", DISABLED)


def test_no_url_is_no_replica() -> None:
    assert parse_several("") == []
