// What the viewer takes of three.js (npm package three 0.187.0, MIT). three.min.js is made of it by
//   npm install three@0.187.0 esbuild && npx esbuild three.entry.js --bundle --minify --format=iife --global-name=THREE --outfile=three.min.js
export {
  AmbientLight,
  BufferAttribute,
  BufferGeometry,
  Color,
  CylinderGeometry,
  DirectionalLight,
  Group,
  InstancedMesh,
  LineBasicMaterial,
  LineSegments,
  Matrix4,
  MeshLambertMaterial,
  PerspectiveCamera,
  Quaternion,
  Scene,
  SphereGeometry,
  Vector3,
  WebGLRenderer,
} from 'three';
export { OrbitControls } from 'three/addons/controls/OrbitControls.js';
