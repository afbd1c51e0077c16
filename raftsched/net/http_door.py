"""How connections to the HTTP port are protected, and who may make them."""

import ssl

from raftsched.net.access import Denied, admitted, roles_for
from raftsched.net.tls import Tls

_ROLES = roles_for("/raftsched.v1.")
"""Whoever may call the public services may do so over HTTP."""


class HttpDoor:
    """TLS for the HTTP port."""

    def __init__(self, tls: Tls, cluster: str, *, client_auth: bool) -> None:
        """``client_auth``: whether whoever connects has to show a certificate of the cluster."""
        self._tls = tls
        self._cluster = cluster
        self._client_auth = client_auth

    def context(self) -> ssl.SSLContext:
        """For the port."""
        return self._tls.http_context(client_auth=self._client_auth)

    def problem(self, connection: ssl.SSLObject) -> str:
        """Why whoever has connected is served nothing; "" when there is no reason."""
        if not self._client_auth:
            return ""
        shown = connection.getpeercert() or {}
        uris = [str(name[1]) for name in shown.get("subjectAltName", ()) if name[0] == "URI"]
        try:
            admitted(uris, self._cluster, _ROLES)
        except Denied as error:
            return str(error)
        return ""
