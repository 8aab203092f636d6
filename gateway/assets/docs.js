// https://swagger.io/docs/open-source-tools/swagger-ui/usage/configuration/; `validatorUrl` would send the document
// to a server on the internet.
const ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  // Who gets a guest's token here goes on as that guest.
  responseInterceptor: (response) => {
    if (response.ok && /\/auth\/guest(\/renew|\/recover)?$/.test(response.url)) {
      ui.preauthorizeApiKey("bearer", response.body.token);
    }
    return response;
  },
});
