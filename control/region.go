package control

import (
	"context"
	"regexp"

	"holdfast"
	"holdfast/store"
)

// RegionInfo is a region as its operator sees it.
type RegionInfo struct {
	ID      string `json:"id"`
	Name    string `json:"name,omitzero"`
	Default bool   `json:"default,omitzero"`
}

var regionID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}[a-z0-9]$`)

// CreateRegion makes a region, or changes one that is known. A default one takes
// the place of the default before it.
func (c *Control) CreateRegion(ctx context.Context, in RegionInfo) (RegionInfo, error) {
	if !regionID.MatchString(in.ID) {
		return RegionInfo{}, Invalid([]holdfast.Field{{Pointer: "/id", Code: holdfast.CodeInvalidValue,
			Detail: "A region's id is a word such as \"stockholm\": 2 to 32 small letters, digits and hyphens."}})
	}
	if in.Name == "" {
		in.Name = in.ID
	}
	err := c.write(ctx, "control.CreateRegion", func(tx *store.Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		return tx.PutRegion(ctx, holdfast.Region{ID: in.ID, Name: in.Name, Default: in.Default, CreatedAt: now})
	})
	return in, err
}

// ListRegions lists all regions by id.
func (c *Control) ListRegions(ctx context.Context) ([]RegionInfo, error) {
	regions, err := c.store.Regions(ctx)
	return each(regions, func(r holdfast.Region) RegionInfo { return RegionInfo{r.ID, r.Name, r.Default} }), told("control.ListRegions", err)
}
