"""AWS Signature Version 4, with botocore as the witness."""

from datetime import UTC, datetime

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from adapters._aws import AwsCredentials, signed_headers

HEADERS = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "PinpointSMSVoiceV2.SendTextMessage"}
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)
URLS = st.sampled_from(
    [
        "https://sms-voice.eu-west-1.amazonaws.com/",
        "https://SMS-voice.eu-west-1.amazonaws.com:443/",
        "https://localhost:4566/",
        "http://localhost:80/",
        "http://localhost:443/",
    ]
)


@given(
    credentials=st.builds(AwsCredentials, KEYS, KEYS, st.none() | KEYS),
    region=st.sampled_from(["us-east-1", "us-gov-west-1"]),
    url=URLS,
    target=st.text(st.sampled_from("a. \t"), max_size=6),
    body=st.binary(),
)
@example(AwsCredentials("AKID", "secret"), "us-east-1", "https://localhost:4566/", "a  b", b"")
def test_agrees_with_botocore(credentials: AwsCredentials, region: str, url: str, target: str, body: bytes) -> None:
    headers = {**HEADERS, "X-Amz-Target": target}
    request = AWSRequest("POST", url, headers=headers, data=body)
    keys = Credentials(credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
    SigV4Auth(keys, "sms-voice", region).add_auth(request)
    official = dict(request.headers.items())
    signed_at = datetime.strptime(official["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()

    assert signed_headers(credentials, region, "sms-voice", url, headers, body, signed_at) == official


def test_credentials_hide_themselves() -> None:
    assert "wJalrXUtnFEMI" not in repr(AwsCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI", "wJalrXUtnFEMI"))
