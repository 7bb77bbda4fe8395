r"""A small IRC server (RFC 2812): names, channels and private messages, in lines.

    fourtuple serve examples/protocols/irc_server.py

Any IRC client does; the tests use the package irc. Lines are read with CR LF or LF, and written with CR LF.
"""

from fourtuple import Connection, Service

Peer = Connection[str, str, dict[str, str]]

service = Service("line:net,max_message=512+text", state=dict[str, str])
people: dict[str, Peer] = {}
channels: dict[str, set[Peer]] = {}


@service.reply
def handle(line: str, connection: Peer) -> str | None:
    head, colon, text = line.partition(" :")
    command, *words = head.split() or [""]
    words += [text] if colon else []
    name = connection.state.get("name", "*")
    match command.upper(), words:
        case "NICK", [new, *_]:
            if new in people:
                return f":fourtuple 433 {name} {new} :Nickname is already in use"
            people.pop(name, None)
            people[new], connection.state["name"] = connection, new
        case "USER", _ if name in people:
            return f":fourtuple 001 {name} :Welcome to fourtuple, {name}"
        case "PING", [token, *_]:
            return f":fourtuple PONG fourtuple :{token}"
        case "JOIN", [channel, *_]:
            channels.setdefault(channel, set()).add(connection)
            tell(channels[channel], f":{name}!{name}@fourtuple JOIN {channel}")
        case "PRIVMSG", [target, text]:
            if target in people:
                people[target].send(f":{name}!{name}@fourtuple PRIVMSG {target} :{text}")
            elif target in channels:
                tell(channels[target] - {connection}, f":{name}!{name}@fourtuple PRIVMSG {target} :{text}")
            else:
                return f":fourtuple 401 {name} {target} :No such nick/channel"
        case "QUIT", _:
            connection.close()
        case _:
            return f":fourtuple 421 {name} {command} :Unknown command"
    return None


def tell(peers: set[Peer], line: str) -> None:
    for peer in peers:
        peer.send(line)


@service.closed
def leave(connection: Peer) -> None:
    name = connection.state.get("name")
    if name is not None and people.get(name) is connection:
        del people[name]
    for members in channels.values():
        if connection in members:
            members.discard(connection)
            tell(members, f":{name}!{name}@fourtuple QUIT :gone")
