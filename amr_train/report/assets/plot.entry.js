// What the report takes of Observable Plot (npm package @observablehq/plot 0.6.17, ISC, with d3 7.9.2). plot.min.js is made of it by
//   npm install @observablehq/plot@0.6.17 d3@7.9.2 esbuild && npx esbuild plot.entry.js --bundle --minify --format=iife --global-name=Plot --outfile=plot.min.js
export {
  axisX, axisY, cell, dot, frame, gridX, gridY, line, plot, pointer, ruleX, ruleY, text, tickX, tip,
} from '@observablehq/plot';
