"""The pictures of TCP: what is drawn in each. ``python docs/pictures.py`` writes them."""

from __future__ import annotations

from collections.abc import Callable

from drawing import Picture


def four_tuple() -> Picture:
    """One listener, and connections that share its name."""
    about = (
        "A server at 10.0.0.1 has one listener at port 9999 and three connections. Two come from the client 10.0.0.7, "
        "ports 40001 and 40002, one from 10.0.0.8, port 40001. Each connection has its own four-tuple."
    )
    p = Picture(760, 330, "Each connection is named by its four-tuple", about)
    p.text(130, 30, "clients", kind="bold")
    p.text(585, 30, "server 10.0.0.1", kind="bold")
    p.box(440, 50, 290, 50, "listener 10.0.0.1:9999", "accepts, sends nothing", kind="warm")
    ends = (("10.0.0.7:40001", 130), ("10.0.0.7:40002", 200), ("10.0.0.8:40001", 270))
    for number, (end, y) in enumerate(ends, 1):
        p.box(30, y, 200, 44, end, mono=end)
        p.box(440, y, 290, 44, f"connection {number}", f"10.0.0.1:9999 <- {end}", mono=f"10.0.0.1:9999 <- {end}")
        p.arrow((440, y + 22), (230, y + 22), kind="strong")
        p.arrow((230, y + 22), (440, y + 22), kind="strong")
    p.text(335, 120, "both directions", kind="dim")
    return p


def handshake() -> Picture:
    """Three segments, two queues in the kernel, and accept()."""
    about = (
        "The client sends SYN. The server's kernel answers SYN, ACK and keeps the half-open connection in the SYN "
        "queue. The client's ACK moves it into the accept queue, whose limit is the backlog. accept() takes it out. "
        "Where the accept queue is full, the kernel drops new SYNs without an answer."
    )
    p = Picture(780, 400, "The handshake and the accept queue", about)
    for x, words in ((90, "client"), (400, "server's kernel"), (680, "program")):
        p.text(x, 30, words, kind="bold")
        p.line(x, 40, x, 80 if x == 680 else 330)
    p.arrow((90, 70), (395, 90), words="SYN")
    p.box(310, 95, 180, 30, "SYN queue: SYN-RECV")
    p.arrow((395, 130), (95, 150), words="SYN, ACK")
    p.arrow((90, 170), (395, 190), words="ACK")
    p.text(84, 215, "connect()", anchor="end", kind="mono")
    p.text(84, 235, "returns", anchor="end")
    p.box(290, 195, 220, 50, "accept queue", "limit: the backlog", kind="warm")
    p.arrow((510, 220), (600, 220), kind="strong")
    p.text(555, 210, "accept()", kind="mono")
    p.box(600, 195, 160, 50, "connection", "ESTABLISHED")
    p.line(680, 80, 680, 195)
    p.arrow((90, 290), (280, 300), kind="broken", words="SYN", above=8)
    p.box(
        290,
        275,
        440,
        50,
        "accept queue full: the SYN is dropped,",
        "and the client sends it again after 1 s",
        kind="warm",
    )
    p.text(390, 375, "A client is connected before the program has accepted it.", kind="dim")
    return p


def states() -> Picture:
    """The eleven states of RFC 9293."""
    about = (
        "The eleven states of TCP and what leads from one to the next. Opening: CLOSED, LISTEN, SYN-SENT, SYN-RECV, "
        "ESTABLISHED. The end that closes first: FIN-WAIT-1, FIN-WAIT-2 or CLOSING, TIME-WAIT, CLOSED. The other end: "
        "CLOSE-WAIT, LAST-ACK, CLOSED. The table below the picture has the same."
    )
    p = Picture(820, 560, "The eleven states of a connection", about)
    box = {
        "CLOSED": (345, 20),
        "LISTEN": (130, 100),
        "SYN-SENT": (560, 100),
        "SYN-RECV": (130, 190),
        "ESTABLISHED": (345, 190),
        "FIN-WAIT-1": (130, 290),
        "CLOSE-WAIT": (560, 290),
        "FIN-WAIT-2": (30, 390),
        "CLOSING": (270, 390),
        "LAST-ACK": (560, 390),
        "TIME-WAIT": (130, 490),
    }
    for name, (x, y) in box.items():
        p.box(x, y, 130, 36, name, kind="warm" if name == "ESTABLISHED" else "box")
    p.arrow((345, 38), (195, 38), (195, 100))
    p.text(265, 30, "listen()", kind="mono")
    p.arrow((475, 38), (625, 38), (625, 100))
    p.text(550, 30, "connect()", kind="mono")
    p.text(635, 75, "sends SYN", anchor="start", kind="dim")
    p.arrow((195, 136), (195, 190))
    p.text(205, 168, "SYN received", anchor="start", kind="dim")
    p.arrow((260, 208), (345, 208), words="ACK")
    p.arrow((625, 136), (625, 208), (475, 208))
    p.text(635, 185, "SYN, ACK received", anchor="start", kind="dim")
    p.arrow((380, 226), (380, 265), (195, 265), (195, 290))
    p.text(288, 258, "this end closes", kind="accent")
    p.arrow((440, 226), (440, 265), (625, 265), (625, 290))
    p.text(535, 258, "FIN received", kind="accent")
    p.arrow((165, 326), (95, 390))
    p.text(90, 350, "ACK", kind="dim")
    p.arrow((225, 326), (335, 390))
    p.text(310, 348, "FIN received", anchor="start", kind="dim")
    p.arrow((625, 326), (625, 390))
    p.text(635, 362, "this end closes", anchor="start", kind="dim")
    p.arrow((95, 426), (165, 490))
    p.text(85, 470, "FIN received", kind="dim")
    p.arrow((335, 426), (225, 490))
    p.text(315, 470, "ACK", kind="dim")
    p.arrow((260, 508), (500, 508), words="after a minute")
    p.box(500, 490, 250, 36, "CLOSED (no socket any more)", kind="warm")
    p.arrow((625, 426), (625, 490))
    p.text(635, 462, "ACK received", anchor="start", kind="dim")
    return p


def half_close() -> Picture:
    """One direction ends, the other goes on."""
    about = (
        "The client sends its question and then FIN by send_eof(): it will send no more. The server reads an end of "
        "file, and still sends its answer. When it is complete the server sends FIN, too, and both directions are "
        "closed."
    )
    p = Picture(760, 330, "Half-close: one direction ends, the other goes on", about)
    for x, words in ((190, "client"), (570, "server")):
        p.text(x, 30, words, kind="bold")
        p.line(x, 40, x, 310)
    p.arrow((190, 70), (565, 85), words="the question", kind="strong")
    p.arrow((190, 120), (565, 135), words="FIN")
    p.text(180, 125, "send_eof()", anchor="end", kind="mono")
    p.text(580, 140, "receives EndOfFile", anchor="start")
    p.arrow((570, 185), (195, 200), words="the answer", kind="strong")
    p.arrow((570, 235), (195, 250), words="FIN")
    p.text(580, 240, "close()", anchor="start", kind="mono")
    p.text(180, 255, "EndOfFile", anchor="end")
    p.text(380, 300, "Both directions are closed: each FIN closed one.", kind="dim")
    return p


def framing_cuts() -> Picture:
    """The same octets in two cuts: as they arrive, and as messages."""
    about = (
        "The stream 05 hello 02 ok 03 bye, where a number is the length of what follows. It comes in three reads that "
        "end in the middle of messages. The framing makes the messages hello, ok and bye of it, however it was cut."
    )
    p = Picture(780, 290, "A framing cuts the stream into messages", about)
    octets = ["05", *"hello", "02", *"ok", "03", *"bye"]
    left, width = 130, 47

    def row(y: int, ends: tuple[int, ...], words: tuple[str, ...], kind: str) -> None:
        begin = 0
        for end, word in zip(ends, words, strict=True):
            p.box(left + begin * width + 2, y, (end - begin) * width - 4, 36, word, kind=kind)
            begin = end

    p.text(20, 53, "stream", anchor="start", kind="bold")
    for number, octet in enumerate(octets):
        p.box(left + number * width + 2, 30, width - 4, 36, octet, mono=octet, kind="warm" if len(octet) > 1 else "box")
    p.text(20, 133, "reads", anchor="start", kind="bold")
    row(110, (4, 8, 13), ("recv(): 4 octets", "recv(): 4", "recv(): 5 octets"), "warm")
    p.text(20, 213, "messages", anchor="start", kind="bold")
    row(190, (6, 9, 13), ("hello", "ok", "bye"), "box")
    p.text(390, 265, "The network chooses where reads end. The framing chooses where messages end.", kind="dim")
    return p


def backpressure() -> Picture:
    """What fills up, from the peer that does not read, back to the handler."""
    about = (
        "Octets go from the handler over the outbox, the kernel's send buffer, the network and the peer's receive "
        "buffer to the peer's program. If the program does not read, they fill up in the opposite order. When the "
        "outbox is above high_water the server stops reading from this peer, so that it makes no more replies for it."
    )
    p = Picture(860, 310, "Where backpressure goes", about)
    p.text(225, 30, "server", kind="bold")
    p.text(670, 30, "peer", kind="bold")
    boxes = (
        (20, 100, ("handler",), "box"),
        (160, 120, ("outbox", "high_water"), "warm"),
        (320, 130, ("kernel's", "send buffer"), "box"),
        (520, 150, ("kernel's", "receive buffer"), "box"),
        (720, 120, ("program", "does not read"), "warm"),
    )
    for x, width, lines, kind in boxes:
        p.box(x, 50, width, 56, *lines, kind=kind)
    for x1, x2 in ((120, 160), (280, 320), (450, 520), (670, 720)):
        p.arrow((x1, 78), (x2, 78), kind="strong")
    p.text(485, 68, "send", kind="dim")
    for x, words in ((595, "1. full"), (385, "2. full"), (220, "3. full")):
        p.text(x, 130, words, kind="alert")
    p.arrow((780, 150), (75, 150), kind="broken")
    p.text(430, 172, "the pressure goes back, buffer by buffer", kind="alert")
    p.box(
        20,
        200,
        520,
        56,
        "4. the server stops reading from this peer:",
        "no more requests, so no more replies",
        kind="warm",
    )
    p.arrow((70, 150), (70, 200), kind="broken")
    p.text(430, 290, "Other connections are served as before. write_timeout ends a peer that never reads.", kind="dim")
    return p


def where_limits_act() -> Picture:
    """The three places of limits: the queue, the admission, the conversation."""
    about = (
        "A connection passes the kernel's queue, where it waits because of max_connections, max_threads, accept_rate, "
        "max_buffered or a lack of descriptors; then admission, which refuses by deny, allow, max_queue_age, per "
        "address and per network; then the conversation, which is delayed by rates and high_water, and ended by "
        "deadlines, max_message and max_buffered."
    )
    p = Picture(820, 240, "Where a limit acts", about)
    p.box(20, 50, 220, 150, "max_connections", "max_threads", "accept_rate", "max_buffered", "no descriptors")
    p.box(300, 50, 220, 150, "deny, allow", "max_queue_age", "per address", "per network", kind="warm")
    p.box(
        580,
        50,
        220,
        150,
        "delayed by rates",
        "and high_water; ended",
        "by deadlines,",
        "max_message and",
        "max_buffered",
    )
    p.text(130, 35, "kernel's queue: waits", kind="bold")
    p.text(410, 35, "admission: refuses", kind="bold")
    p.text(690, 35, "conversation", kind="bold")
    p.arrow((240, 125), (300, 125), kind="strong")
    p.arrow((520, 125), (580, 125), kind="strong")
    p.text(410, 225, "from the first segment to the last octet", kind="dim")
    return p


DIAGRAMS: dict[str, Callable[[], Picture]] = {
    "four-tuple": four_tuple,
    "handshake": handshake,
    "states": states,
    "half-close": half_close,
    "framing": framing_cuts,
    "backpressure": backpressure,
    "limits": where_limits_act,
}
