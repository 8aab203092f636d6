// https://swagger.io/docs/open-source-tools/swagger-ui/usage/configuration/; `validatorUrl` would send the document
// to a server on the internet.
const ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  // Who tries POST /auth/guest goes on as that guest.
  responseInterceptor: (response) => {
    if (response.ok && response.url.endsWith("/auth/guest")) {
      ui.preauthorizeApiKey("bearer", response.body.token);
    }
    return response;
  },
});
