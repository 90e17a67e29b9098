"""The token of the arms that check one, and the key that it is checked with. It was signed once, by a key that nobody has any
more: issuer and audience `bench`, subject `alice`, good until the year 2100."""

ISSUER = "bench"
TOKEN = (
    "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImJlbmNoIn0"
    ".eyJpc3MiOiJiZW5jaCIsImF1ZCI6ImJlbmNoIiwic3ViIjoiYWxpY2UiLCJleHAiOjQxMDI0NDQ4MDB9"
    ".Z148I4IgAJXL50b_9MYpUWo9DJMt7KYZ8JBi1rGA-5BmeCKrfX2zrQSmz9e8UKSWi68VMvjWJ-vV5iCeZ-uCiw"
)
BEARER = {"authorization": f"Bearer {TOKEN}"}
JWK = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "bench",
    "alg": "ES256",
    "x": "ZgDxgOoCnRxmefR1KTk6p5DqYl1vNQWaPXl0s1w6LrQ",
    "y": "74SrkSPah44yJ6itURsFdI4HIcgZAUn-UBFHUUURT2Q",
}
# The same.
PEM = """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZgDxgOoCnRxmefR1KTk6p5DqYl1v
NQWaPXl0s1w6LrTvhKuRI9qHjjInqK1RGwV0jgchyBkBSf5QEUdRRRFPZA==
-----END PUBLIC KEY-----
"""
