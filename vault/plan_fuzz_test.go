package vault

import (
	"reflect"
	"testing"
)

// A plan is sealed, but a thief of the keys can seal any. What is taken is
// written again as it was read.
func FuzzDecodePlan(f *testing.F) {
	f.Add([]byte(`{"number":1,"condemned":[{"name":"packs/s/d00000000000000000000000000000000","size":5,"keep":"/w=="}],"known":["b"],"ends":["s"]}`))
	f.Add([]byte(`{"number":18446744073709551615,"condemned":[{"name":"../x"}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decodePlan(data)
		if err != nil {
			return
		}
		for _, c := range p.Condemned {
			_ = c.keeps(1 << 31)
		}
		_, _, _ = p.String(), p.Frees(), p.Empty()
		written, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodePlan(written)
		if err != nil {
			t.Fatalf("written, and cannot be read: %v", err)
		}
		once, err := again.encode()
		if err != nil || !reflect.DeepEqual(once, written) {
			t.Errorf("%s, then %s (%v)", written, once, err)
		}
	})
}
