// Lists tar archives with Go's reader, the one in Docker, containerd and umoci: the second opinion of the test
// `tar_mutations`. Reads archives with a 32-bit big-endian length in front of each; writes one line for each entry
// and one with "end" or "error" for each archive.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"sort"
	"strings"
)

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		var length uint32
		if binary.Read(in, binary.BigEndian, &length) != nil {
			return
		}
		archive := make([]byte, length)
		if _, err := io.ReadFull(in, archive); err != nil {
			return
		}
		list(tar.NewReader(bytes.NewReader(archive)), out)
	}
}

func list(reader *tar.Reader, out io.Writer) {
	for {
		header, err := reader.Next()
		if err == io.EOF {
			fmt.Fprintln(out, "end")
			return
		}
		if err != nil {
			fmt.Fprintln(out, "error", strings.ReplaceAll(err.Error(), "\n", " "))
			return
		}
		hash := fnv.New64a()
		if header.Size <= 1<<20 {
			if _, err := io.Copy(hash, reader); err != nil {
				fmt.Fprintln(out, "error", err)
				return
			}
		}
		var xattrs []string
		for key, value := range header.PAXRecords {
			if strings.HasPrefix(key, "SCHILY.xattr.") && value != "" {
				xattrs = append(xattrs, fmt.Sprintf("%x=%x", key[13:], value))
			}
		}
		sort.Strings(xattrs)
		fmt.Fprintf(out, "%c %x %x %d %o %d %d %d.%09d %d:%d %016x %s\n", header.Typeflag, header.Name, header.Linkname,
			header.Size, header.Mode&07777, header.Uid, header.Gid, header.ModTime.Unix(), header.ModTime.Nanosecond(),
			header.Devmajor, header.Devminor, hash.Sum64(), strings.Join(xattrs, ","))
	}
}
