"""Every official vector through the project's own functions."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from official import load

from bridge.crypto import envelope, keys, merkle, signed
from bridge.errors import Malformed, Rejected

ED25519 = load("ed25519_wycheproof")["tests"]
MLDSA = load("mldsa65_wycheproof_sample")["tests"]
XWING = load("xwing_draft")["vectors"]
HPKE = load("hpke_rfc9180_base")["vectors"] + load("hpke_pq_draft")["vectors"]
XWING_HPKE = [v for v in HPKE if v["kem_id"] == 0x647A]
SMALL_ORDER = list(
    next(v for k, v in load("ed25519_small_order_public_keys").items() if k.startswith("accepted"))
)
MERKLE = load("merkle_rfc6962")

KEMS = {
    0x0010: hpke.KEM.P256,
    0x0011: hpke.KEM.P384,
    0x0012: hpke.KEM.P521,
    0x0020: hpke.KEM.X25519,
    0x0041: hpke.KEM.MLKEM768,
    0x0051: hpke.KEM.MLKEM1024_P384,
    0x647A: hpke.KEM.MLKEM768_X25519,
}
KDFS = {
    1: hpke.KDF.HKDF_SHA256,
    2: hpke.KDF.HKDF_SHA384,
    3: hpke.KDF.HKDF_SHA512,
    16: hpke.KDF.SHAKE128,
    17: hpke.KDF.SHAKE256,
}
AEADS = {1: hpke.AEAD.AES_128_GCM, 2: hpke.AEAD.AES_256_GCM, 3: hpke.AEAD.CHACHA20_POLY1305}
CURVES = {0x0010: ec.SECP256R1(), 0x0011: ec.SECP384R1(), 0x0012: ec.SECP521R1()}


def suite_of(v):
    return hpke.Suite(KEMS[v["kem_id"]], KDFS[v["kdf_id"]], AEADS[v["aead_id"]])


def hpke_id(v):
    return f"{v['kem_id']:04x}-{v['kdf_id']}-{v['aead_id']}"


def test_the_files_hold_what_their_readme_says():
    assert (len(ED25519), sum(t["result"] == "valid" for t in ED25519)) == (151, 88)
    assert (len(MLDSA), len(XWING), len(HPKE), len(XWING_HPKE), len(SMALL_ORDER)) == (6, 3, 24, 2, 14)
    assert (len(MERKLE["inclusion"]), len(MERKLE["consistency"])) == (98, 98)


@pytest.mark.parametrize("case", ED25519, ids=lambda c: str(c["tcId"]))
def test_ed25519_signatures_are_judged_as_wycheproof_has_them(case):
    key = keys.PublicKey(keys.ED25519, b"", bytes.fromhex(case["pk"]))
    assert keys.verifies(key, bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])) == (
        case["result"] == "valid"
    )


@pytest.mark.parametrize(
    "case", [c for c in MLDSA if not c["ctx"]], ids=lambda c: f"{c['tcId']}-{c['flags'][0]}"
)
def test_mldsa_signatures_are_judged_as_wycheproof_has_them(case):
    # The case with a context has no counterpart here: we never use one, a purpose stands in the signed bytes.
    key = keys.PublicKey(keys.MLDSA65, b"", bytes.fromhex(case["publicKey"]))
    assert keys.verifies(key, bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])) == (
        case["result"] == "valid"
    )


def test_a_signature_made_with_a_context_does_not_verify_without_it():
    (case,) = (c for c in MLDSA if c["ctx"])
    key = keys.PublicKey(keys.MLDSA65, b"", bytes.fromhex(case["publicKey"]))
    assert not keys.verifies(key, bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"]))


def test_the_small_order_encodings_in_code_are_the_14_of_the_file():
    assert {bytes.fromhex(k) for k in SMALL_ORDER} == keys.SMALL_ORDER


@pytest.mark.parametrize("encoding", SMALL_ORDER)
def test_a_small_order_key_is_refused_and_verifies_nothing(encoding):
    public = bytes.fromhex(encoding)
    with pytest.raises(Rejected) as refused:
        keys.check_public(keys.ED25519, public)
    assert refused.value.code == "weak-key"
    forged = bytes([1]) + bytes(
        63
    )  # R = identity, S = 0: for such keys the library takes it for many messages
    key = keys.PublicKey(keys.ED25519, b"", public)
    assert not any(keys.verifies(key, forged, bytes([n])) for n in range(64))


@pytest.mark.parametrize("v", XWING, ids=["1", "2", "3"])
def test_an_xwing_seed_gives_the_public_key_of_the_draft(v):
    key = keys.SealingKey.from_seed(keys.XWING, "kent-mash", bytes.fromhex(v["seed"]))
    assert key.public.hex() == v["pk"]
    keys.check_public(keys.XWING, key.public)


@pytest.mark.parametrize("v", XWING_HPKE, ids=hpke_id)
def test_our_opening_path_gives_the_plaintext_of_the_xwing_vectors(v):
    key = keys.SealingKey.from_seed(keys.XWING, "kent-mash", bytes.fromhex(v["skRm"]))
    assert key.public.hex() == v["pkRm"]
    sealed, info = bytes.fromhex(v["enc"] + v["derived_ct_empty_aad"]), bytes.fromhex(v["info"])
    assert envelope._decrypt(sealed, key, info, suite_of(v)).hex() == v["pt"]
    with pytest.raises(Malformed):
        envelope._decrypt(sealed, key, info + b"\0", suite_of(v))


def test_one_of_the_xwing_vectors_is_of_the_very_suite_we_seal_with():
    (v,) = (v for v in XWING_HPKE if (v["kdf_id"], v["aead_id"]) == (1, 3))
    key = keys.SealingKey.from_seed(keys.XWING, "kent-mash", bytes.fromhex(v["skRm"]))
    sealed, info = bytes.fromhex(v["enc"] + v["derived_ct_empty_aad"]), bytes.fromhex(v["info"])
    assert envelope._decrypt(sealed, key, info).hex() == v["pt"]


def private_key(v):
    raw, kem = bytes.fromhex(v["skRm"]), v["kem_id"]
    if kem in CURVES:
        return ec.derive_private_key(int.from_bytes(raw, "big"), CURVES[kem])
    if kem == 0x0020:
        return x25519.X25519PrivateKey.from_private_bytes(raw)
    if kem == 0x0041:
        return mlkem.MLKEM768PrivateKey.from_seed_bytes(raw)
    expanded = hashlib.shake_256(raw).digest(64 + 48)  # MLKEM1024-P384
    scalar = int.from_bytes(expanded[64:], "big")
    return hpke.MLKEM1024P384PrivateKey(
        mlkem.MLKEM1024PrivateKey.from_seed_bytes(expanded[:64]),
        ec.derive_private_key(scalar, ec.SECP384R1()),
    )


@pytest.mark.parametrize("v", [v for v in HPKE if v["kem_id"] != 0x647A], ids=hpke_id)
def test_the_library_agrees_with_the_hpke_vectors_of_other_kems(v):
    sealed = bytes.fromhex(v["enc"] + v["derived_ct_empty_aad"])
    assert suite_of(v).decrypt(sealed, private_key(v), info=bytes.fromhex(v["info"])).hex() == v["pt"]


LEAVES = [bytes.fromhex(leaf) for leaf in MERKLE["leaves_hex"]]
ROOTS = [bytes.fromhex(root) for root in MERKLE["roots_hex_by_size"]]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_rfc_6962(size):
    tree = merkle.Tree()
    for leaf in LEAVES[:size]:
        tree.append(merkle.leaf_hash(leaf))
    assert merkle.root(LEAVES[:size]) == tree.root() == ROOTS[size]


def b64(text):
    return base64.b64decode(text or "")


def judge(wanted_error, check):
    if not wanted_error:
        check()
        return
    with pytest.raises(Rejected) as refused:
        check()
    assert refused.value.code == "bad-proof"


@pytest.mark.parametrize("case", MERKLE["inclusion"], ids=lambda c: c["case"])
def test_inclusion_is_judged_as_in_transparency_dev(case):
    proof = [b64(h) for h in case["proof"] or ()]
    judge(
        case["wantErr"],
        lambda: merkle.verify_inclusion(
            b64(case["leafHash"]), case["leafIdx"], case["treeSize"], proof, b64(case["root"])
        ),
    )


@pytest.mark.parametrize("case", MERKLE["consistency"], ids=lambda c: c["case"])
def test_consistency_is_judged_as_in_transparency_dev(case):
    proof = [b64(h) for h in case["proof"] or ()]
    judge(
        case["wantErr"],
        lambda: merkle.verify_consistency(
            case["size1"], case["size2"], proof, b64(case["root1"]), b64(case["root2"])
        ),
    )


def test_the_signed_note_example_verifies_with_its_verifier_key():
    note = load("note_dsse_examples")["signed_note"]
    public = base64.b64decode(note["vkey"].split("+", 2)[2])
    text, line = note["note"].split("\n\n")
    signature = base64.b64decode(line.split(" ")[2])
    assert public[0] == 1  # Ed25519
    key = keys.PublicKey(keys.ED25519, b"", public[1:])
    assert keys.verifies(key, signature[4:], text.encode() + b"\n")
    assert not keys.verifies(key, signature[4:], text.encode())


def test_our_encoding_is_not_taken_for_that_of_dsse():
    dsse = load("note_dsse_examples")["dsse_pae"]
    ours = signed.pae(dsse["type"], dsse["body"].encode())
    assert ours != dsse["pae"].encode()
    assert not ours.startswith(b"DSSE")
