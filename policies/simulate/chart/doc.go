// Package chart draws simulations: an SVG for pages and a few lines of text for terminals. It draws what a
// simulate.Result says and computes nothing. The same results give the same bytes.
//
// The colours are of Okabe and Ito's set, which people tell apart whatever their eyes; lines differ in their
// strokes too. Start reading at svg.go.
package chart
