"""An RTSP camera for tests: GStreamer's own server, run by the system's Python, which has its bindings.

It prints "ready" when it listens on /live and ends with its standard input. A line "size WIDTHxHEIGHT" on that input changes
the size of the pictures in the middle of the stream, as a camera does whose owner turns to another profile.
"""

import argparse
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402 - after the versions


def caps(size: str, fps: str) -> str:
    width, height = size.split("x")
    return f"video/x-raw,width={width},height={height},framerate={fps}/1"


class Camera:
    """One camera at rtsp://127.0.0.1:PORT/live."""

    def __init__(self, port: str, size: str, fps: str) -> None:
        self.size, self.fps = size, fps
        self.filters: list[Gst.Element] = []
        self.server = GstRtspServer.RTSPServer()
        self.server.set_address("127.0.0.1")
        self.server.set_service(port)
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(
            "( videotestsrc is-live=true pattern=smpte ! capsfilter name=size ! "
            "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 sliced-threads=false ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
        )
        factory.set_shared(True)
        factory.connect("media-configure", self.configure)
        self.factory = factory
        self.server.get_mount_points().add_factory("/live", factory)

    def configure(self, _factory: object, media: GstRtspServer.RTSPMedia) -> None:
        """Give a stream that begins its size."""
        found = media.get_element().get_by_name("size")
        found.set_property("caps", Gst.Caps.from_string(caps(self.size, self.fps)))
        self.filters.append(found)

    def resize(self, size: str) -> None:
        """Change the size of all streams, now."""
        self.size = size
        for found in self.filters:
            found.set_property("caps", Gst.Caps.from_string(caps(size, self.fps)))

    def protect(self, login: str, certificate: list[str]) -> None:
        """Ask for a login (digest), or encrypt, or both."""
        auth = GstRtspServer.RTSPAuth()
        if certificate:
            auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(*certificate))
        token = GstRtspServer.RTSPToken()
        token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
        if login:
            user, password = login.split(":")
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest(user, password, token)
        else:
            auth.set_default_token(token)
        self.server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", "media.factory.access", True)
        permissions.add_permission_for_role("viewer", "media.factory.construct", True)
        self.factory.set_permissions(permissions)


def obey(camera: Camera, loop: GLib.MainLoop) -> None:
    for line in sys.stdin:
        word, _, size = line.strip().partition(" ")
        if word == "size":
            GLib.idle_add(camera.resize, size)
    loop.quit()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", required=True)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--fps", default="15")
    parser.add_argument("--login", default="", help="USER:PASSWORD")
    parser.add_argument("--certificate", nargs=2, default=[], help="and key, PEM")
    parser.add_argument("--udp-only", action="store_true")
    options = parser.parse_args()
    Gst.init(None)
    camera = Camera(options.port, options.size, options.fps)
    if options.udp_only:
        camera.factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
    if options.login or options.certificate:
        camera.protect(options.login, options.certificate)
    if not camera.server.attach(None):
        sys.exit(f"port {options.port} is taken")
    loop = GLib.MainLoop()
    threading.Thread(target=obey, args=(camera, loop), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    loop.run()


main()
