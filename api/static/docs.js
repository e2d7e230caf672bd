// No inline script: the page's Content-Security-Policy forbids it.
window.ui = SwaggerUIBundle({
  url: "/v1/openapi.json",
  dom_id: "#document",
  deepLinking: true,
  validatorUrl: null,
  persistAuthorization: false,
});
