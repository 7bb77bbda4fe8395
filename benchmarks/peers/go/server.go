// Go's net and crypto/tls: a goroutine for each connection, one function per message, one write per read.
// Each message is a value of its own, which the function may keep.
//
//	go-server fixed:16 | line | u32 [--tls certificate-and-key.pem]
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// Loud returns a new value, as the handlers of all peers do.
func loud(message []byte) []byte {
	return bytes.ToUpper(message)
}

// Turned is the handler of large messages, for which copying is cheaper than looking at every octet.
func turned(message []byte) []byte {
	reply := make([]byte, len(message))
	copy(reply, message[1:])
	reply[len(message)-1] = message[0]
	return reply
}

// The handler is known at run time only, as a server's library knows it: no call of it is compiled into the loop.
var answer = loud

// Fixed answers messages of 16 octets, on the connection itself.
func fixed(connection net.Conn) error {
	const size = 16
	in, out, held := make([]byte, 4096), make([]byte, 0, 4096), 0
	for {
		count, err := connection.Read(in[held:])
		if err != nil {
			return err
		}
		held += count
		at := 0
		for ; held-at >= size; at += size {
			out = append(out, answer(append([]byte(nil), in[at:at+size]...))...)
		}
		held = copy(in, in[at:held])
		if _, err := connection.Write(out); err != nil {
			return err
		}
		out = out[:0]
	}
}

// Lines answers messages that end with a line feed.
func lines(connection net.Conn) error {
	reader, writer := bufio.NewReader(connection), bufio.NewWriter(connection)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return err
		}
		writer.Write(answer(line[:len(line)-1]))
		writer.WriteByte('\n')
		if reader.Buffered() == 0 {
			if err := writer.Flush(); err != nil {
				return err
			}
		}
	}
}

// Lengths answers messages behind a length of four octets.
func lengths(connection net.Conn) error {
	reader, writer := bufio.NewReader(connection), bufio.NewWriter(connection)
	var head [4]byte
	for {
		if _, err := io.ReadFull(reader, head[:]); err != nil {
			return err
		}
		message := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(reader, message); err != nil {
			return err
		}
		reply := answer(message)
		binary.BigEndian.PutUint32(head[:], uint32(len(reply)))
		writer.Write(head[:])
		writer.Write(reply)
		if reader.Buffered() == 0 {
			if err := writer.Flush(); err != nil {
				return err
			}
		}
	}
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}

func main() {
	talks := map[string]func(net.Conn) error{"fixed:16": fixed, "line": lines, "u32": lengths}
	if len(os.Args) < 2 || talks[os.Args[1]] == nil {
		fail("go-server fixed:16 | line | u32 [--tls certificate-and-key.pem]")
	}
	talk := talks[os.Args[1]]
	if os.Getenv("HANDLER") == "turned" {
		answer = turned
	}
	// This version of Go does not raise the soft limit by itself.
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	if len(os.Args) > 3 && os.Args[2] == "--tls" {
		pair, err := tls.LoadX509KeyPair(os.Args[3], os.Args[3])
		if err != nil {
			fail(err)
		}
		listener = tls.NewListener(listener, &tls.Config{
			Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13,
		})
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		go func() {
			defer connection.Close()
			talk(connection)
		}()
	}
}
