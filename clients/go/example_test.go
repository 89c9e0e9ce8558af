package gatecast_test

import (
	"context"
	"fmt"
	"log"
	"time"

	gatecast "github.com/gatecast/gatecast/clients/go"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := gatecast.Dial(ctx, "ws://127.0.0.1:8080/ws", gatecast.Options{Token: "a token of `gatecast token make`"})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := conn.GroupAdd(ctx, "chat.7", func(m gatecast.Message) { fmt.Printf("%s: %s\n", m.From, m.Data) }); err != nil {
		log.Fatal(err) // gatecast.CodeOf(err) is "forbidden" without the grant
	}
	if err := conn.GroupSend(ctx, "chat.7", map[string]string{"text": "hello"}); err != nil {
		log.Fatal(err)
	}
}

func ExampleGroupName() {
	fmt.Println(gatecast.GroupName("user", "a.b@x.com"))
	// Output: user.a%2Eb%40x%2Ecom
}
