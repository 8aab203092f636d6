// https://swagger.io/docs/open-source-tools/swagger-ui/usage/configuration/; `validatorUrl` would send the document
// to a server on the internet.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
