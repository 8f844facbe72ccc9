// Encodes header lists by golang.org/x/net/http2/hpack: one block a line, in
// hex.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

func main() {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		parts := strings.Split(lines.Text(), "\t")
		switch parts[0] {
		case "table":
			size, err := strconv.ParseUint(parts[1], 10, 32)
			if err != nil {
				panic(err)
			}
			// As net/http does with the receiver's setting.
			encoder.SetMaxDynamicTableSizeLimit(uint32(size))
			encoder.SetMaxDynamicTableSize(uint32(size))
		case "field":
			field := hpack.HeaderField{Name: parts[2], Value: parts[3], Sensitive: parts[1] == "1"}
			if err := encoder.WriteField(field); err != nil {
				panic(err)
			}
		default:
			fmt.Printf("%x\n", block.Bytes())
			block.Reset()
		}
	}
}
