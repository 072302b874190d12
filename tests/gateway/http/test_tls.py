"""TLS to real servers: who is trusted, who is shown, whose name is checked."""

import pytest

from gateway.core.outcome import Phase
from gateway.http.tls import client_context
from gateway.settings import SettingsError
from gateway.settings.upstreams import TlsSettings


async def test_a_private_authority_is_trusted(tls_upstream, client_tls, pool_to, wire, answered) -> None:
    server = await tls_upstream(wire.plain(b"secure"))
    pool = pool_to(server.port, tls=client_tls())
    for _ in range(3):
        assert (await answered(pool)).body == b"secure"
    assert server.connections == 1


async def test_large_bodies_go_both_ways(tls_upstream, client_tls, pool_to, wire, answered) -> None:
    server = await tls_upstream(wire.plain(b"x" * 3_000_000))
    heard = await answered(pool_to(server.port, tls=client_tls()), b"y" * 3_000_000)
    assert heard.body == b"x" * 3_000_000
    assert server.requests[0].body == b"y" * 3_000_000


async def test_an_unknown_authority_is_refused(tls_upstream, pool_to, wire, ask) -> None:
    server = await tls_upstream(wire.plain(b"secure"))
    pool = pool_to(server.port, tls=client_context(TlsSettings(), "upstreams.u.tls"))
    failure = await ask(pool)[0].broke()
    assert (failure.phase, failure.kind) == (Phase.CONNECT, "tls")
    assert "certificate verify failed" in failure.text
    assert (pool.counts, pool.connecting) == ((0, 0, 0), 0)


async def test_a_certificate_for_another_name_is_refused(tls_upstream, client_tls, pool_to, wire, ask) -> None:
    # It is for 127.0.0.1 and model.example.
    server = await tls_upstream(wire.plain(b"secure"))
    failure = await ask(pool_to(server.port, "localhost", tls=client_tls()))[0].broke()
    assert (failure.phase, failure.kind) == (Phase.CONNECT, "tls")
    assert "localhost" in failure.text


async def test_the_servers_name_is_told_to_it(tls_upstream, client_tls, pool_to, wire, answered) -> None:
    server = await tls_upstream(wire.plain(b"secure"))
    pool = pool_to(server.port, "model.example", tls=client_tls())
    pool._dialer._peer = ("127.0.0.1", server.port)
    assert (await answered(pool)).body == b"secure"
    assert server.names == ["model.example"]


async def test_a_server_that_wants_a_certificate(*, tls_upstream, client_tls, pool_to, wire, ask, answered) -> None:
    server = await tls_upstream(wire.plain(b"secure"), client_certificate=True)
    assert (await answered(pool_to(server.port, tls=client_tls(certificate=True)))).body == b"secure"
    failure = await ask(pool_to(server.port, tls=client_tls()))[0].broke()
    # TLS 1.3 tells it after the handshake, so the connection seems open at first.
    assert failure.kind in {"tls", "reset"}


async def test_a_server_that_speaks_no_tls(upstream, client_tls, pool_to, wire, ask) -> None:
    async def plain(peer) -> None:
        peer.send(wire.plain(b"hello"))
        await peer.gone()

    server = await upstream(plain)
    failure = await ask(pool_to(server.port, tls=client_tls()))[0].broke()
    assert (failure.phase, failure.kind) == (Phase.CONNECT, "tls")


async def test_cancelling_in_the_handshake_leaves_nothing(upstream, client_tls, pool_to, until, ask) -> None:
    async def silent(peer) -> None:
        await peer.gone()

    server = await upstream(silent)
    pool = pool_to(server.port, tls=client_tls(), connect_s=20)
    leases = [ask(pool)[1] for _ in range(30)]
    await until(lambda: server.open == 30)
    for lease in leases:
        lease.cancel()
    await until(lambda: server.open == 0)
    assert (pool.counts, pool.connecting) == ((0, 0, 0), 0)


def test_files_that_cannot_be_used_are_named(certificates, tmp_path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    missing, good, key = str(tmp_path / "missing.pem"), str(certificates.client), str(certificates.client_key)
    for settings, place in [
        (TlsSettings(ca_file=missing), "u.tls.ca_file"),
        (TlsSettings(ca_file=str(nonsense)), "u.tls.ca_file"),
        (TlsSettings(cert_file=missing), "u.tls.cert_file"),
        (TlsSettings(cert_file=good, key_file=missing), "u.tls.cert_file"),
        (TlsSettings(cert_file=good, key_file=str(certificates.server_key)), "u.tls.cert_file"),
        (TlsSettings(cert_file=good, key_file=str(certificates.encrypted_key)), "encrypted"),
    ]:
        with pytest.raises(SettingsError, match=place) as caught:
            client_context(settings, "u.tls")
        assert caught.value.hint
    assert client_context(TlsSettings(cert_file=good, key_file=key), "u.tls").check_hostname
