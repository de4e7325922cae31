// Requests that are tried out here bear the cookie of who is logged in at the dashboard, or the key given to "Authorize".
SwaggerUIBundle({ dom_id: "#ui", url: "/docs/openapi.json", deepLinking: true, tryItOutEnabled: true, defaultModelsExpandDepth: 0, validatorUrl: null });
